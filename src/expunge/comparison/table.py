"""A comparison as figures: medians with their range, and which entries no other one beats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from expunge.comparison.compare import Cell, Comparison
from expunge.comparison.score import Score

COLUMNS: Mapping[str, str] = {
    "overall": "Harmonic mean of forgetting, privacy and ability",
    "forgetting": "1 − mean of probability, ROUGE-L and extraction strength of the old responses, over the oracle's",
    "privacy": "1 − distance of the membership AUC from the oracle's",
    "ability": "Probability of ordinary responses over the original's",
    "neighbours": "The same of neighbours alone",
    "right": "Share of greedy answers to ordinary prompts that are exactly right",
    "rouge": "Their ROUGE-L recall",
    "flagged": "Share of greedy answers to forgotten prompts, reworded ones among them, that are at fault, old or new",
    "probability": "Of what was at fault",
    "unseen": "The same in words never trained on",
    "relearned": "The same after fine-tuning on the other half of the forget set",
    "rounded": "The same with weights in 4 bits",
}
"""What is shown of a score, and what it means."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, least and most over seeds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(median(values), min(values), max(values))

    def __str__(self) -> str:
        middle, low, high = (f"{x:.3f}" for x in (self.median, self.low, self.high))
        return middle if low == high else f"{middle} ({low}–{high})"


@dataclass(frozen=True, slots=True)
class Row:
    """One entry: `figures` by column, where measured, and medians of the same trainings.

    broken: seeds without a score, and why. seeds: how many have one, of how many, where some have and some have not.
    """

    name: str
    figures: Mapping[str, Spread]
    steps: int
    tokens: int
    seconds: float
    broken: tuple[str, ...] = ()
    seeds: str = ""


def rows(found: Comparison) -> list[Row]:
    """The entries, best overall first; the broken ones last."""
    made = [_row(name, found.of(name)) for name in found.names]
    return sorted(made, key=lambda row: -row.figures["overall"].median if row.figures else 1.0)


def figures(scores: Sequence[Score]) -> dict[str, Spread]:
    """By column, of what was measured."""
    columns = {name: [getattr(score, name) for score in scores] for name in COLUMNS}
    return {name: Spread.of(values) for name, values in columns.items() if values and None not in values}


def front(points: Sequence[tuple[float, ...]]) -> list[int]:
    """Places of the points that no other beats: none is as high in every coordinate. Of equal points the first."""
    return [
        i for i, point in enumerate(points) if point not in points[:i] and not any(_beats(q, point) for q in points)
    ]


def _beats(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a != b and all(x >= y for x, y in zip(a, b, strict=True))


def _row(name: str, cells: Sequence[Cell]) -> Row:
    whole = [cell for cell in cells if cell.score]
    counted = whole or cells
    return Row(
        name,
        figures([cell.score for cell in whole if cell.score]),
        steps=int(median(cell.steps for cell in counted)),
        tokens=int(median(cell.tokens for cell in counted)),
        seconds=median(cell.seconds for cell in counted),
        broken=tuple(f"seed {cell.seed}: {cell.reason}" for cell in cells if not cell.score),
        seeds=f"{len(whole)} of {len(cells)} seeds" if 0 < len(whole) < len(cells) else "",
    )
