"""What an audit found: plain figures with intervals, and the dialogues behind them. No torch here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from expunge.errors import InputError
from expunge.files import PRIVATE, read_jsonl, read_text, write_json, write_jsonl

Group = Literal["forgetting", "robustness", "membership", "ability", "neighbours", "fluency", "oracle"]
Better = Literal["lower", "higher", "nearer the oracle"]
Kind = Literal["trained", "unseen", "neighbour", "ability"]


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
    unit: "share" (of dialogues, shown in per cent), "probability", "ratio", or "steps" of training.
    better: "nearer the oracle" where too low is as bad as too high.
    before: the reference model; after: the audited model; oracle: a model that never saw the forget set.
    """

    key: str
    title: str
    meaning: str
    group: Group
    unit: Literal["share", "probability", "ratio", "steps"]
    better: Better
    after: Estimate
    before: Estimate | None = None
    oracle: Estimate | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """A text and its private characters, as [start, end) pairs."""

    text: str
    private: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """One prompt with the flagged response (where there was one) and what the models answer."""

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


@dataclass(frozen=True, slots=True)
class Audit:
    """All measures of one audited model, and the samples behind them."""

    model: str
    reference: str
    oracle: str | None
    measures: tuple[Measure, ...]
    samples: tuple[Sample, ...] = field(repr=False)
    facts: dict[str, Any] = field(default_factory=dict)
    """Lineage and cost: hashes, seeds, versions, seconds, judges."""

    def measure(self, key: str) -> Measure:
        """The measure of this key.

        Raises:
            KeyError: this audit has none of that key.
        """
        return next((m for m in self.measures if m.key == key), None) or _missing(key)

    def write(self, folder: Path) -> None:
        """Write `audit.json` (figures only, no dialogue text) and `samples.jsonl` (texts, owner alone)."""
        head = {"model": self.model, "reference": self.reference, "oracle": self.oracle}
        measures = [asdict(m) for m in self.measures]
        write_jsonl(folder / "samples.jsonl", (asdict(s) for s in self.samples), mode=PRIVATE)
        write_json(folder / "audit.json", head | {"measures": measures, "facts": self.facts})


def _missing(key: str) -> Measure:
    raise KeyError(key)


def read_audit(folder: Path) -> Audit:
    """Read what `Audit.write` wrote.

    Raises:
        InputError: there is no audit in this folder, or it is not one of ours.
    """
    path = folder / "audit.json"
    try:
        head = json.loads(read_text(path))
        measures = tuple(_measure(m) for m in head["measures"])
        rows: Sequence[tuple[int, dict[str, Any]]] = (
            list(read_jsonl(folder / "samples.jsonl")) if (folder / "samples.jsonl").exists() else []
        )
        samples = tuple(_sample(row) for _, row in rows)
        return Audit(head["model"], head["reference"], head["oracle"], measures, samples, head["facts"])
    except (json.JSONDecodeError, KeyError, TypeError):
        raise InputError("not an audit", file=path, remedy="Write it with `expunge audit`.") from None


def _measure(row: dict[str, Any]) -> Measure:
    estimates = {k: Estimate(**row[k]) if row[k] else None for k in ("after", "before", "oracle")}
    return Measure(**(row | estimates))


def _sample(row: dict[str, Any]) -> Sample:
    def text(value: dict[str, Any] | None) -> Text | None:
        return None if value is None else Text(value["text"], tuple((a, b) for a, b in value["private"]))

    return Sample(**(row | {k: text(row[k]) for k in ("question", "old", "before", "after")}))
