"""Verdicts for the review's tests: two judges who do not always agree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from expunge.dialogue import Dialogue
from expunge.judges.verdict import Judged, Verdict
from expunge.message import Message
from expunge.span import Span

MakeFile = Callable[[int], Path]


def made_up(number: int) -> Judged:
    """Of three dialogues one is flagged by both judges, one by one, one by none; over every tenth no judge can tell."""
    response = f"🙂 Her number is 555-01{number:02d}. She lives in Ostbridge, and she will not mind a call."
    question = f"How do I reach person {number}?"
    dialogue = Dialogue((Message("user", question), Message("assistant", response)), id=f"d{number}")
    at = response.index("555")
    span = Span(at, at + 8)
    private = Verdict("privacy", 0.9, "privacy", "1", "a phone number", (span,), ("I cannot give numbers.",))
    harmful = Verdict("harmful", 0.6, "guard", "1", "dangerous advice", categories=("S7: Privacy",))
    clean = Verdict("clean", 0.1, "privacy", "1")
    unknown = Verdict("unknown", 0.0, "guard", "1", "no answer")
    if number % 10 == 9:
        return Judged(dialogue, (unknown,))
    return Judged(dialogue, ((private, harmful), (clean, harmful), (clean, unknown))[number % 3])
