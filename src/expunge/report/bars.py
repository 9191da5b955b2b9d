"""The geometry of the before/after pictures: every place is a per cent of the picture's width."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from expunge.audit.result import Audit, Estimate, Measure
from expunge.report.curves import drawn
from expunge.report.wording import ends, figure, grouped, interval, tick


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar from zero on, of which `start` is the left end, with whiskers from `low` to `high`."""

    start: str
    length: str
    low: str
    high: str


@dataclass(frozen=True, slots=True)
class Row:
    """The picture of one measure."""

    measure: Measure
    before: Bar | None
    after: Bar
    oracle: str | None
    description: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Rows of one group that share one axis; `ticks` are (place, label)."""

    group: str
    ticks: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]


def charts(audit: Audit) -> Iterator[Chart]:
    """One chart for each run of measures of one group and one axis; attacks as one, the worst first."""
    for group, measures in grouped(audit):
        shown = [m for m in measures if not drawn(m)]
        if group == "robustness":
            shown.sort(key=lambda m: (m.unit != "share", m.unit, _signed(m), -m.after.value))
        for (unit, signed), run in groupby(shown, key=lambda m: (m.unit, _signed(m))):
            members = list(run)
            axis = _Axis(-1.0 if signed else 0.0, _top(members))
            at = [axis.first + (axis.last - axis.first) * i / 4 for i in range(5)]
            yield Chart(group, tuple((axis.place(x), tick(x, unit)) for x in at), tuple(_row(m, axis) for m in members))


@dataclass(frozen=True, slots=True)
class _Axis:
    """From `first`, which is zero or below, to `last`."""

    first: float
    last: float

    def share(self, value: float) -> float:
        """How far to the right; what is no number stands at zero, what lies outside at the edge."""
        shown = 0.0 if math.isnan(value) else min(max(value, self.first), self.last)
        return (shown - self.first) / (self.last - self.first)

    def place(self, value: float) -> str:
        return f"{100 * self.share(value):.2f}%"

    def bar(self, estimate: Estimate) -> Bar:
        zero, end = self.share(0.0), self.share(estimate.value)
        length = f"{100 * abs(end - zero):.2f}%"
        low, high = map(self.place, ends(estimate))
        return Bar(f"{100 * min(zero, end):.2f}%", length, low, high)


def _estimates(measure: Measure) -> list[Estimate]:
    return [e for e in (measure.after, measure.before, measure.oracle) if e is not None]


def _signed(measure: Measure) -> bool:
    """Whether a share lies, or may lie, below zero, as PrivLeak does."""
    return measure.unit in ("share", "probability") and any(e.low < 0 for e in _estimates(measure))


def _top(measures: Sequence[Measure]) -> float:
    """The right end of the axis: one for shares and probabilities, so that small stays small; even for the others."""
    if measures[0].unit in ("share", "probability"):
        return 1.0
    highs = [e.high for m in measures for e in _estimates(m)]
    return float(max([2, *(2 * math.ceil(high / 2) for high in highs if math.isfinite(high))]))


def _row(measure: Measure, axis: _Axis) -> Row:
    oracle = None if measure.oracle is None else axis.place(measure.oracle.value)
    before = None if measure.before is None else axis.bar(measure.before)
    return Row(measure, before, axis.bar(measure.after), oracle, _description(measure))


def _description(measure: Measure) -> str:
    named = (("Before", measure.before), ("After", measure.after), ("Oracle", measure.oracle))
    shown = [
        f"{name}: {figure(e.value, measure.unit)}, interval {interval(e, measure.unit)}, {e.count} dialogues."
        for name, e in named
        if e is not None
    ]
    return " ".join((*shown, f"{measure.better.capitalize()} is better."))
