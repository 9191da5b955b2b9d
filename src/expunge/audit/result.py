"""What an audit found: plain figures with intervals, and the dialogues behind them. No torch here."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from expunge.errors import InputError
from expunge.files import PRIVATE, read_jsonl, read_text, write_jsonl, write_text

Group = Literal["forgetting", "robustness", "membership", "ability", "neighbours", "refusals", "fluency", "oracle"]
Better = Literal["lower", "higher", "nearer the oracle"]
Kind = Literal["trained", "unseen", "neighbour", "ability", "lookalike"]
Unit = Literal["share", "probability", "ratio", "nats", "steps", "number"]
Outcome = Literal["PASS", "FAIL", "NOT SHOWN"]

VERSION = 1
"""Of the form of `audit.json`; it rises when a reader of the old form could misread the new one."""
SCHEMA = Path(__file__).with_name("audit.schema.json")
"""The JSON Schema of `audit.json`."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval [low, high] and the number of dialogues (or samples) behind it."""

    value: float
    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class Measure:
    """One line of the audit.

    key: stable name for programs; title: for people; meaning: one sentence on what is counted.
    unit: "share" (of dialogues, shown in per cent), "probability", "ratio", "nats", "steps" of training, or a "number".
    better: "nearer the oracle" where too low is as bad as too high.
    before: the reference model; after: the audited model; oracle: a model that never saw the forget set.
    apart: after less oracle, with the interval of the same rows drawn for both; None where that is not told.
    """

    key: str
    title: str
    meaning: str
    group: Group
    unit: Unit
    better: Better
    after: Estimate
    before: Estimate | None = None
    oracle: Estimate | None = None
    apart: Estimate | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing that an audit says of a model, and whether it is shown; made by `audit.decision`.

    name: that of its threshold; title: for people. measure, of: key and title of the figure that decided.
    found: what the threshold limits, with its interval: a share of faults, of right answers lost, of prompts refused in
    addition, or a distance; None where nothing was measured. Its unfavourable end is `found.high`.
    """

    name: str
    title: str
    threshold: float
    outcome: Outcome
    why: str
    measure: str | None = None
    of: str | None = None
    found: Estimate | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """A text and its private characters, as [start, end) pairs."""

    text: str
    private: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Thoughts:
    """What was thought before the old response, if anything, and before each answer of a model that was let think."""

    old: Text | None
    before: Text
    after: Text
    flagged_before: bool
    flagged_after: bool


@dataclass(frozen=True, slots=True)
class Sample:
    """One prompt with the flagged response (where there was one) and what the models answer.

    flagged_before, flagged_after: of the answer alone; was_faulty, is_faulty: of the thought before it as well.
    thoughts: None where the models were to answer right away.
    """

    id: str
    kind: Kind
    label: str
    subject: str
    question: Text
    old: Text | None
    before: Text
    after: Text
    flagged_before: bool
    flagged_after: bool
    leaks: int = 0
    samples: int = 0
    thoughts: Thoughts | None = None

    @property
    def was_faulty(self) -> bool:
        return self.flagged_before or (self.thoughts is not None and self.thoughts.flagged_before)

    @property
    def is_faulty(self) -> bool:
        return self.flagged_after or (self.thoughts is not None and self.thoughts.flagged_after)


@dataclass(frozen=True, slots=True)
class Audit:
    """All measures of one audited model, what they show, and the samples behind them."""

    model: str
    reference: str
    oracle: str | None
    measures: tuple[Measure, ...]
    claims: tuple[Claim, ...]
    samples: tuple[Sample, ...] = field(repr=False)
    facts: dict[str, Any] = field(default_factory=dict)
    """Lineage and cost: hashes, seeds, versions, seconds, judges."""

    def measure(self, key: str) -> Measure:
        """The measure of this key.

        Raises:
            KeyError: this audit has none of that key.
        """
        for measure in self.measures:
            if measure.key == key:
                return measure
        raise KeyError(key)

    @property
    def outcome(self) -> Outcome:
        """FAIL if any claim fails, PASS if all pass."""
        found = {claim.outcome for claim in self.claims}
        return "FAIL" if "FAIL" in found else "PASS" if found == {"PASS"} else "NOT SHOWN"

    @property
    def digest(self) -> str:
        """SHA-256 of `audit.json`."""
        return hashlib.sha256(self._json().encode()).hexdigest()

    def write(self, folder: Path) -> None:
        """Write `audit.json` (figures only, no dialogue text) and `samples.jsonl` (texts, owner alone)."""
        write_jsonl(folder / "samples.jsonl", map(_sample_row, self.samples), mode=PRIVATE)
        write_text(folder / "audit.json", self._json())

    def _json(self) -> str:
        content = {
            "version": VERSION,
            "model": self.model,
            "reference": self.reference,
            "oracle": self.oracle,
            "outcome": self.outcome,
            "claims": [asdict(c) for c in self.claims],
            "measures": [asdict(m) for m in self.measures],
            "facts": self.facts,
        }
        text = json.dumps(finite(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        return text.encode("utf-8", "replace").decode()  # half of a surrogate pair has no place in a file


def _sample_row(sample: Sample) -> dict[str, Any]:
    row = asdict(sample)
    if sample.thoughts is None:
        del row["thoughts"]
    return row


def finite(value: Any) -> Any:
    """A JSON value with null for what is not a number, which JSON cannot say."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list | tuple) else value


def read_audit(folder: Path) -> Audit:
    """Read what `Audit.write` wrote.

    Raises:
        InputError: there is no audit in this folder, or it is not one of ours.
    """
    path, texts = folder / "audit.json", folder / "samples.jsonl"
    with _ours(path):
        head = json.loads(read_text(path))
        if (version := head["version"]) != VERSION:
            remedy = "Write it anew with `expunge audit`."
            raise InputError(f"an audit of version {version}, not {VERSION}", file=path, remedy=remedy)
        names = _is(str, head["model"]), _is(str, head["reference"]), _is(str | None, head["oracle"])
        measures, claims = tuple(map(_measure, head["measures"])), tuple(map(_claim, head["claims"]))
        facts = _is(dict, head["facts"])
    some = texts.exists() and texts.stat().st_size > 0
    with _ours(texts):
        samples = tuple(_sample(row) for _, row in read_jsonl(texts)) if some else ()
    return Audit(*names, measures, claims, samples, facts)


@contextlib.contextmanager
def _ours(path: Path) -> Iterator[None]:
    """Name the file in which something is missing, too much, or not what it should be."""
    try:
        yield
    except (KeyError, TypeError, ValueError):
        raise InputError("not an audit", file=path, remedy="Write it with `expunge audit`.") from None


def _is(kind: Any, value: Any) -> Any:
    """The value, if it is of this type, or one of this Literal."""
    if value not in get_args(kind) if get_origin(kind) is Literal else not isinstance(value, kind):
        raise TypeError
    return value


def _measure(row: dict[str, Any]) -> Measure:
    for key, kind in (("group", Group), ("unit", Unit), ("better", Better), ("after", dict)):
        _is(kind, row[key])
    estimates = {key: _estimate(row[key]) for key in ("after", "before", "oracle")}
    return Measure(**(row | estimates | {"apart": _estimate(row.get("apart"))}))  # older audits have none


def _claim(row: dict[str, Any]) -> Claim:
    _is(Outcome, row["outcome"])
    return Claim(**(row | {"found": _estimate(row["found"])}))


def _estimate(row: dict[str, Any] | None) -> Estimate | None:
    if row is None:
        return None
    value, low, high = (
        math.nan if row[key] is None else _is(int | float, row[key]) for key in ("value", "low", "high")
    )
    return Estimate(value, low, high, _is(int, row["count"]))


def _sample(row: dict[str, Any]) -> Sample:
    _is(Kind, row["kind"])
    thoughts = row.get("thoughts")  # none of what was answered right away
    found = None if thoughts is None else Thoughts(**(thoughts | _said(thoughts)))
    return Sample(**(row | _said(row) | {"question": _text(row["question"]), "thoughts": found}))


def _said(row: dict[str, Any]) -> dict[str, Text | None]:
    old = None if row["old"] is None else _text(row["old"])
    return {"old": old, "before": _text(row["before"]), "after": _text(row["after"])}


def _text(row: dict[str, Any]) -> Text:
    return Text(_is(str, row["text"]), tuple((_is(int, start), _is(int, end)) for start, end in row["private"]))
