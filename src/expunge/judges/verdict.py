"""Verdicts, and the one small Protocol that makes an object a judge."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, get_args, runtime_checkable

from expunge.content import WORD
from expunge.dialogue import Dialogue, parse
from expunge.errors import InputError
from expunge.files import SURROGATE, read_jsonl, write_jsonl
from expunge.span import Span, merge_spans

Label = Literal["harmful", "hallucination", "privacy", "clean", "unknown"]
LABELS: tuple[Label, ...] = get_args(Label)
FAULTS: tuple[Label, ...] = ("harmful", "hallucination", "privacy")
PERSON = "person"
"""The judge of a decision that a person made; a panel's own have the panel's name."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judge's answer for one dialogue.

    label: a fault, `clean`, or `unknown` (the judge cannot tell; never a guess).
    score: how sure the judge is that the response is at fault, in [0, 1].
    spans: the characters at fault; none means the whole response.
    expected: acceptable responses that the judge knows of (the right fact, say).
    categories: the judge's own finer names of the fault ("S2: Non-Violent Crimes").
    """

    label: Label
    score: float
    judge: str
    version: str
    reason: str = ""
    spans: tuple[Span, ...] = ()
    expected: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()

    @property
    def flagged(self) -> bool:
        return self.label in FAULTS

    def row(self) -> dict[str, Any]:
        row: dict[str, Any] = {
            "label": self.label,
            "score": round(self.score, 6),
            "spans": [[s.start, s.end] for s in self.spans],
            "reason": self.reason,
            "judge": self.judge,
            "version": self.version,
        }
        return row | {name: list(texts) for name in ("expected", "categories") if (texts := getattr(self, name))}


@runtime_checkable
class Judge(Protocol):
    """Anything with a name, a version and `judge`: the way to bring one's own.

    One that asks whether a response is a right answer sets `reads_thoughts = False`: what a model thinks before it
    answers (`Dialogue.thinks`) is then `unknown` to it.
    """

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str:
        """Changes whenever the same dialogue might get another verdict (a hash of rules, weights, thresholds)."""
        ...

    def judge(self, dialogues: Sequence[Dialogue]) -> list[Verdict]:
        """One verdict a dialogue, in order. Every dialogue has a response."""
        ...


@dataclass(frozen=True, slots=True)
class Judged:
    """A dialogue with the verdicts of all judges that read it; flagged as soon as one of them flags it.

    decision: what a panel or a person made of the verdicts; it stands above them.
    """

    dialogue: Dialogue
    verdicts: tuple[Verdict, ...]
    decision: Verdict | None = None

    @property
    def verdict(self) -> Verdict:
        """The decisive verdict: the decision; else the surest fault; else the first clean one; else `unknown`."""
        if self.decision:
            return self.decision
        faults = [v for v in self.verdicts if v.flagged]
        if faults:
            return max(faults, key=lambda v: v.score)
        return next((v for v in self.verdicts if v.label == "clean"), self.verdicts[0])

    @property
    def flagged(self) -> bool:
        return self.verdict.flagged

    @property
    def label(self) -> Label:
        return self.verdict.label

    @property
    def spans(self) -> tuple[Span, ...]:
        """The union of the flagged spans; none (the whole response) if a judge flags without naming any."""
        faults = [v for v in self._deciding if v.flagged]
        if any(not v.spans for v in faults):
            return ()
        return merge_spans(s for v in faults for s in v.spans)

    @property
    def expected(self) -> tuple[str, ...]:
        """Acceptable responses: the user's own first, else those that the flagging judges know."""
        if self.dialogue.expected:
            return self.dialogue.expected
        return tuple(dict.fromkeys(text for v in self._deciding if v.flagged for text in v.expected))

    @property
    def _deciding(self) -> tuple[Verdict, ...]:
        return (self.decision,) if self.decision else self.verdicts

    def row(self) -> dict[str, Any]:
        return self.dialogue.row() | self.judgement()

    def judgement(self) -> dict[str, Any]:
        """What the row says beside the dialogue."""
        found = {
            "label": self.label,
            "score": round(self.verdict.score, 6),
            "verdicts": [v.row() for v in self.verdicts],
        }
        return found | ({"decision": self.decision.row()} if self.decision else {})


def read_verdicts(path: str | Path) -> list[Judged]:
    """Read a file that `expunge scan` wrote.

    Raises:
        InputError: no such file, an empty one, a row that is no dialogue, or one without valid verdicts.
    """
    return [parse_judged(row, file=path, line=line) for line, row in read_jsonl(Path(path))]


def write_verdicts(path: Path, judged: Iterable[Judged]) -> None:
    """Write verdicts as JSON Lines, readable by the owner alone."""
    write_jsonl(path, (item.row() for item in judged))


def parse_judged(row: Mapping[str, Any], *, file: str | Path, line: int) -> Judged:
    dialogue = parse(row, file=file, line=line)

    def fault(message: str, remedy: str = "Write the file with `expunge scan`.") -> InputError:
        return InputError(message, file=file, line=line, remedy=remedy)

    verdicts = row.get("verdicts")
    if not isinstance(verdicts, list) or not verdicts:
        raise fault("this row has no verdicts")
    if dialogue.response is None:
        raise fault("a judged dialogue must end with the assistant's response")
    parsed = tuple(_verdict(item, len(dialogue.response), fault) for item in verdicts)
    decision = row.get("decision")
    return Judged(dialogue, parsed, _verdict(decision, len(dialogue.response), fault) if decision else None)


def unknown_label(label: Any) -> str:
    """What to say of it; only a single word is quoted, since anything else might be dialogue text."""
    return f"unknown label {label!r}" if isinstance(label, str) and WORD.fullmatch(label) else "a label that is no word"


def _verdict(item: Any, length: int, fault: Callable[..., InputError]) -> Verdict:
    try:
        item = {name: value for name, value in item.items() if value is not None}  # null: a column of other rows
        verdict = Verdict(
            label=item["label"],
            score=float(item["score"]),
            judge=str(item["judge"]),
            version=str(item["version"]),
            reason=str(item.get("reason", "")),
            spans=tuple(Span(int(a), int(b)) for a, b in item.get("spans", [])),
            expected=_texts(item, "expected", fault),
            categories=_texts(item, "categories", fault),
        )
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
        raise fault("a verdict needs label, score, judge and version") from None
    if verdict.label not in LABELS:
        raise fault(unknown_label(verdict.label), f"Known labels: {', '.join(LABELS)}.")
    if not 0.0 <= verdict.score <= 1.0:
        raise fault(f"the score {verdict.score} is not in [0, 1]")
    if any(not 0 <= s.start < s.end <= length for s in verdict.spans):
        raise fault(f"a span lies outside the response ({length} characters)")
    texts = (verdict.judge, verdict.version, verdict.reason, *verdict.expected, *verdict.categories)
    if any(SURROGATE.search(text) for text in texts):
        raise fault("a verdict holds half a character (a lone surrogate)", "Write it again as UTF-8.")
    return verdict


def _texts(item: Mapping[str, Any], name: str, fault: Callable[..., InputError]) -> tuple[str, ...]:
    texts = item.get(name, [])
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise fault(f"{name!r} of a verdict must be a list of texts")
    return tuple(texts)
