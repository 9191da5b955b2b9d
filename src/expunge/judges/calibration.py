"""Where to draw the line: thresholds on a judge's score, chosen on dialogues whose labels a person knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from expunge.dialogue import Dialogue, parse
from expunge.errors import InputError
from expunge.files import digest
from expunge.judges.verdict import FAULTS, LABELS, PERSON, Judge, Label, parse_judged
from expunge.sources import stream_rows, unsliced

BINS = 10
Goal = Literal["precision", "recall"]


@dataclass(frozen=True, slots=True)
class Gold:
    """A dialogue and the label that a person gave it."""

    dialogue: Dialogue
    label: Label


def read_gold(path: str | Path) -> list[Gold]:
    """Dialogues with a `label` each, or verdicts with a person's decisions; what no person decided is left out.

    Raises:
        InputError: no such file, a row that is no dialogue with response and label, or nothing is labelled.
    """
    file, _ = unsliced(path)
    found = []
    for line, row in stream_rows(path):
        if "verdicts" in row:
            judged = parse_judged(row, file=file, line=line)
            label = judged.decision.label if judged.decision and judged.decision.judge == PERSON else None
            dialogue = judged.dialogue
        else:
            dialogue, label = parse(row, file=file, line=line), row.get("label")
            if label not in LABELS:
                remedy = f"Give each row a label: {', '.join(LABELS)}."
                raise InputError("this row has no label that is known", file=file, line=line, remedy=remedy)
            if dialogue.response is None:
                raise InputError("there is no response to judge", file=file, line=line)
        if label and label != "unknown":
            found.append(Gold(dialogue, label))
    if not found:
        raise InputError("nobody has decided on any of these", file=file, remedy="Give labels, or `expunge review` it.")
    return found


@dataclass(frozen=True, slots=True)
class Rate:
    """A share with its exact 95 % interval (Clopper and Pearson 1934)."""

    value: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, hits: int, count: int) -> Rate | None:
        if not count:
            return None
        from scipy.stats import binomtest

        interval = binomtest(hits, count).proportion_ci(0.95)
        return cls(hits / count, float(interval.low), float(interval.high), count)

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f}–{self.high:.3f}, n = {self.count})"


@dataclass(frozen=True, slots=True)
class Bin:
    """Dialogues whose scores lie in [low, high): their mean score, and the share that is at fault."""

    low: float
    high: float
    count: int
    score: float
    at_fault: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """A judge against gold labels, for one fault.

    threshold: flag from this score on; None: no threshold reaches the goal. precision, recall: there (None where
    nothing is flagged, or nothing at fault). auc: area under the ROC curve, `roc` (false positives, hits, threshold);
    None without both kinds. error: expected calibration error, Σ n_b / n |at fault_b − score_b| over ten bins (Naeini
    et al. 2015). unknown: dialogues that the judge could not tell; they count as not flagged. gold: digest of the
    labelled sample.
    """

    judge: str
    fault: Label
    goal: Goal
    wanted: float
    threshold: float | None
    precision: Rate | None
    recall: Rate | None
    auc: float | None
    error: float
    count: int
    at_fault: int
    unknown: int
    gold: str
    roc: tuple[tuple[float, float, float], ...]
    reliability: tuple[Bin, ...]

    def row(self) -> dict[str, Any]:
        return asdict(self)


def calibrate(
    judge: Judge, gold: Sequence[Gold], *, goal: Goal, wanted: float, fault: Label | None = None
) -> Calibration:
    """Choose the threshold for a wanted precision or recall.

    For a precision, the highest threshold of those with the best recall that have it; for a recall, the highest that
    has it. Both are point estimates on the gold sample, a little too good for having been chosen on it.

    fault: the label that counts; default: the one fault of the gold labels. Gold rows with another fault are left out,
    for whether they are at fault in this sense nobody said.

    Raises:
        InputError: a wanted share out of (0, 1], a label that is no fault, several faults and none chosen, or not one
            dialogue at fault.
    """
    if not 0.0 < wanted <= 1.0:
        raise InputError(f"the wanted {goal} {wanted} is not in (0, 1]")
    fault = fault or _only_fault(gold)
    if fault not in FAULTS:
        raise InputError(f"{fault!r} is not a fault", remedy=f"Faults: {', '.join(FAULTS)}.")
    asked = [g for g in gold if g.label in (fault, "clean")]
    truth = np.array([g.label == fault for g in asked], dtype=bool)
    if not truth.any():
        raise InputError(f"no gold row has the label {fault!r}", remedy="Give some; or choose another --fault.")
    verdicts = judge.judge([g.dialogue for g in asked])
    unknown = np.array([v.label == "unknown" for v in verdicts], dtype=bool)
    scores = np.array([v.score for v in verdicts]) * ~unknown
    threshold = _threshold(scores, truth, goal, wanted)
    flagged = scores >= threshold if threshold is not None else np.zeros_like(truth)
    bins = _reliability(scores[~unknown], truth[~unknown])
    return Calibration(
        judge=judge.name,
        fault=fault,
        goal=goal,
        wanted=wanted,
        threshold=threshold,
        precision=Rate.of(int((flagged & truth).sum()), int(flagged.sum())),
        recall=Rate.of(int((flagged & truth).sum()), int(truth.sum())),
        auc=_auc(scores, truth),
        error=sum(b.count * abs(b.at_fault - b.score) for b in bins) / max(1, sum(b.count for b in bins)),
        count=len(asked),
        at_fault=int(truth.sum()),
        unknown=int(unknown.sum()),
        gold=digest(*(part for g in asked for part in (g.dialogue.content_id, g.label)))[:12],
        roc=_roc(scores, truth),
        reliability=bins,
    )


def _only_fault(gold: Sequence[Gold]) -> Label:
    found = [label for label in FAULTS if any(g.label == label for g in gold)]
    if len(found) > 1:
        remedy = "Choose the one that this judge flags, with --fault."
        raise InputError(f"the gold labels hold several faults: {', '.join(found)}", remedy=remedy)
    return found[0] if found else FAULTS[0]


def _threshold(scores: Any, truth: Any, goal: Goal, wanted: float) -> float | None:
    """Among the scores that were given, and above 0: no threshold flags what a judge is sure is clean."""
    found, best = None, 0
    for candidate in sorted({float(s) for s in scores if s > 0}, reverse=True):
        flagged = scores >= candidate
        hits = int((flagged & truth).sum())
        if goal == "recall" and hits / truth.sum() >= wanted:
            return candidate
        if goal == "precision" and hits > best and hits / flagged.sum() >= wanted:
            found, best = candidate, hits  # a lower one with no more hits would only add false alarms
    return found


def _auc(scores: Any, truth: Any) -> float | None:
    if truth.all():
        return None
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(truth, scores))


def _roc(scores: Any, truth: Any) -> tuple[tuple[float, float, float], ...]:
    if truth.all():
        return ()
    from sklearn.metrics import roc_curve

    rates = zip(*roc_curve(truth, scores), strict=True)
    return tuple((float(x), float(y), float(t)) for x, y, t in rates if np.isfinite(t))


def _reliability(scores: Any, truth: Any) -> tuple[Bin, ...]:
    places = np.minimum((scores * BINS).astype(int), BINS - 1)
    return tuple(
        Bin(b / BINS, (b + 1) / BINS, int(inside.sum()), float(scores[inside].mean()), float(truth[inside].mean()))
        for b in range(BINS)
        if (inside := places == b).any()
    )
