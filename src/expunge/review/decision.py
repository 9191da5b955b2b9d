"""A person's decision over one dialogue, as a verdict that stands above the judges'."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from expunge.errors import InputError
from expunge.judges.verdict import FAULTS, PERSON, Judged, Label, Verdict
from expunge.span import Span, merge_spans

CHOICES: tuple[Label, ...] = (*FAULTS, "clean")
"""A person may say which fault it is, or that there is none; leaving it undecided is not a decision."""


def decision(row: Mapping[str, Any]) -> Verdict:
    """The decision in a row with `label`, `spans` ([start, end] pairs), `expected` (texts) and `reason` (a note).

    A clean response has no spans and needs no expected answer: they are left out.

    Raises:
        InputError: a label that is no decision, or a field of the wrong form.
    """
    label = row.get("label")
    if label not in CHOICES:
        raise InputError("a decision needs a label", remedy=f"One of: {', '.join(CHOICES)}.")
    spans, expected, reason = row.get("spans", []), row.get("expected", []), row.get("reason", "")
    if not _pairs(spans) or not _texts(expected) or not _text(reason):
        remedy = "`spans`: a list of [start, end] pairs; `expected`: a list of texts; `reason`: a text."
        raise InputError("this decision cannot be read", remedy=remedy)
    answers = (text.strip() for text in expected)
    fault = label != "clean"
    return Verdict(
        label=label,
        score=1.0 if fault else 0.0,
        judge=PERSON,
        version="1",
        reason=reason.strip(),
        spans=merge_spans(Span(a, b) for a, b in spans) if fault else (),
        expected=tuple(dict.fromkeys(text for text in answers if text)) if fault else (),
    )


def decision_row(verdict: Verdict) -> dict[str, Any]:
    """What `decision` reads back."""
    row = verdict.row()
    return {name: row.get(name, []) for name in ("label", "spans", "expected", "reason")}


def decided(judged: Judged, verdict: Verdict) -> Judged:
    """The dialogue with a person's decision; what the person wants said instead becomes the dialogue's own `expected`.

    Raises:
        InputError: a span lies outside the response.
    """
    length = len(judged.dialogue.response or "")
    if any(not 0 <= s.start < s.end <= length for s in verdict.spans):
        raise InputError(f"{judged.dialogue.place}: a span lies outside the response ({length} characters)")
    dialogue = replace(judged.dialogue, expected=verdict.expected) if verdict.flagged else judged.dialogue
    return replace(judged, dialogue=dialogue, decision=verdict)


def _pairs(value: Any) -> bool:
    if not isinstance(value, list):
        return False
    return all(isinstance(pair, list) and len(pair) == 2 and all(type(n) is int for n in pair) for pair in value)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(_text(text) for text in value)


def _text(value: Any) -> bool:
    """A lone surrogate is half a character: it cannot be written as UTF-8."""
    return isinstance(value, str) and not any("\ud800" <= c <= "\udfff" for c in value)
