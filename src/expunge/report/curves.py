"""The geometry of the curves: relearning over steps, and hidden states over layers; every place is a per cent."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from expunge.audit.result import Audit, Estimate, Measure
from expunge.report.wording import ends, figure, tick

_RELEARNED = re.compile(r"relearn_([a-z]+)(\d+)")
_LAYER = re.compile(r"(depth[a-z_]*?)_?(\d+)")
_TUNED = {
    "forget": "Fine-tuned on other forgotten dialogues",
    "neighbours": "Fine-tuned on neighbours alone",
    "benign": "Fine-tuned on benign dialogues alone",
}
_MODELS = ("before", "oracle", "after")
"""In the order in which they are drawn: after on top."""


@dataclass(frozen=True, slots=True)
class Point:
    """One figure of a curve: its place, the ends of its interval, and in words."""

    x: str
    y: str
    low: str
    high: str
    text: str


@dataclass(frozen=True, slots=True)
class Series:
    """One model's curve."""

    model: str
    points: tuple[Point, ...]

    @property
    def segments(self) -> list[tuple[Point, Point]]:
        return list(pairwise(self.points))


@dataclass(frozen=True, slots=True)
class Plot:
    """One picture; ticks are (place, label)."""

    title: str
    axis: str
    x_ticks: tuple[tuple[str, str], ...]
    y_ticks: tuple[tuple[str, str], ...]
    series: tuple[Series, ...]

    @property
    def description(self) -> str:
        told = (f"{s.model.capitalize()}: {'; '.join(p.text for p in s.points)}." for s in self.series)
        return " ".join(told)


def drawn(measure: Measure) -> bool:
    """Whether a measure is a point of a curve."""
    return bool(_RELEARNED.fullmatch(measure.key) or _LAYER.fullmatch(measure.key))


def relearning(audit: Audit) -> list[Plot]:
    """For each kind of fine-tuning the share said again after so many steps."""
    found = _rows(audit, _RELEARNED)
    return [
        _plot(_TUNED.get(name, f"Fine-tuned: {name}"), "steps of fine-tuning", unit, rows, start=0)
        for name, (unit, rows) in found.items()
    ]


def layers(audit: Audit) -> list[Plot]:
    """What can be read from the hidden states of each layer."""
    return [_plot(_titled(name), "layer", unit, rows) for name, (unit, rows) in _rows(audit, _LAYER).items()]


def _titled(name: str) -> str:
    of = name.removeprefix("depth").strip("_").removesuffix("layer").strip("_").replace("_", " ")
    return f"Read from the hidden states: {of}" if of else "Read from the hidden states"


Rows = Mapping[int, Mapping[str, Estimate]]
"""Estimates by model, by step or layer."""


def _rows(audit: Audit, pattern: re.Pattern[str]) -> dict[str, tuple[str, Rows]]:
    """By name of the curve: its unit and its rows, in order."""
    units: dict[str, str] = {}
    found: dict[str, dict[int, dict[str, Estimate]]] = {}
    for measure in audit.measures:
        if match := pattern.fullmatch(measure.key):
            known: dict[str, Any] = {name: getattr(measure, name) for name in _MODELS}
            estimates = {name: e for name, e in known.items() if e is not None and math.isfinite(e.value)}
            found.setdefault(match[1], {})[int(match[2])] = estimates
            units[match[1]] = measure.unit
    return {name: (units[name], dict(sorted(rows.items()))) for name, rows in found.items()}


def _plot(title: str, axis: str, unit: str, rows: Rows, start: int | None = None) -> Plot:
    places = list(rows)
    first, last = places[0] if start is None else start, places[-1]
    width = max(1, last - first)

    def x(place: int) -> str:
        return f"{100 * (place - first) / width:.2f}%"

    estimates = [e for row in rows.values() for e in row.values()]
    top = max([1.0, *(math.ceil(e.high) for e in estimates if math.isfinite(e.high))])
    low = min([0.0, *(math.floor(e.low) for e in estimates if math.isfinite(e.low))])

    def y(value: float) -> str:
        inside = min(max(value, low), top) if math.isfinite(value) else low
        return f"{100 * (top - inside) / (top - low):.2f}%"

    def series(name: str) -> Iterator[Point]:
        for place, row in rows.items():
            if e := row.get(name):
                text = f"{axis} {place}, {figure(e.value, unit)}"
                low, high = map(y, ends(e))
                yield Point(x(place), y(e.value), low, high, text)

    curves = tuple(Series(name, tuple(series(name))) for name in _MODELS)
    return Plot(
        title=title,
        axis=axis,
        x_ticks=tuple((x(place), str(place)) for place in _few(sorted({first, *places}))),
        y_ticks=tuple((y(value), tick(value, unit)) for value in (low + (top - low) * i / 4 for i in range(5))),
        series=tuple(curve for curve in curves if curve.points),
    )


def _few(places: Sequence[int], most: int = 9) -> Sequence[int]:
    return places[:: math.ceil(len(places) / most)]
