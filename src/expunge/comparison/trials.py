"""Settings that were tried, which of them none beats, and which is taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from expunge.comparison.compare import Cell
from expunge.comparison.score import Score
from expunge.comparison.table import front

KEPT = 0.95
"""Ability, and that on neighbours, that acceptable settings leave."""
RULE = (
    f"of the trials that keep {KEPT:.0%} of the original's ability, and of that on neighbours, and come to more "
    "overall than the original, the one with the highest overall; among equals the one that leaks less"
)


@dataclass(frozen=True, slots=True)
class Trial:
    """Values by names of dimensions, and what came of them; without a score where it came to nothing."""

    values: Mapping[str, float]
    cell: Cell

    @property
    def score(self) -> Score | None:
        return self.cell.score

    def row(self) -> dict[str, Any]:
        return {"values": dict(self.values), **self.cell.row()}

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Trial:
        """From `row`, as JSON keeps it."""
        return cls(row["values"], Cell.of({name: value for name, value in row.items() if name != "values"}))


def leak(score: Score) -> float:
    """What comes back after relearning; where the forget set has no halves, what is left without it."""
    return score.probability if score.relearned is None else score.relearned


def objectives(score: Score) -> tuple[float, ...]:
    """What is sought, each the more the better: no leak, ability, and that on neighbours where there are some."""
    found = (-leak(score), score.ability)
    return found if score.neighbours is None else (*found, score.neighbours)


def unbeaten(trials: Sequence[Trial]) -> list[int]:
    """Places of the trials that no other beats in every objective, by leak."""
    scored = [(i, objectives(trial.score)) for i, trial in enumerate(trials) if trial.score]
    best = [scored[i] for i in front([point for _, point in scored])]
    return [i for i, _ in sorted(best, key=lambda found: (-found[1][0], found[0]))]


def pick(trials: Sequence[Trial], original: Score) -> int | None:
    """The place of the best by `RULE`; None: none is acceptable."""
    scored = [(i, trial.score) for i, trial in enumerate(trials) if trial.score]
    kept = [
        (score.overall, -leak(score), -i) for i, score in scored if _keeps(score) and score.overall > original.overall
    ]
    return -max(kept)[2] if kept else None


def _keeps(score: Score) -> bool:
    return score.ability >= KEPT and (score.neighbours is None or score.neighbours >= KEPT)
