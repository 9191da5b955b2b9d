"""The geometry of the before/after pictures: every place is a per cent of the picture's width."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from expunge.audit.result import Audit, Estimate, Measure
from expunge.report.curves import drawn
from expunge.report.wording import figure, grouped, interval, tick


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar from zero to `length`, with whiskers from `low` to `high`."""

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
    """One chart for each run of measures of one group and one unit; attacks as one, the worst first."""
    for group, measures in grouped(audit):
        shown = [m for m in measures if not drawn(m)]
        if group == "robustness":
            shown.sort(key=lambda m: (m.unit != "share", m.unit, -m.after.value))
        for unit, run in groupby(shown, key=lambda m: m.unit):
            members = list(run)
            top = _top(members)
            ticks = tuple((_place(top * i / 4, top), tick(top * i / 4, unit)) for i in range(5))
            yield Chart(group, ticks, tuple(_row(m, top) for m in members))


def _top(measures: Sequence[Measure]) -> float:
    """The right end of the axis: one for shares and probabilities, so that small stays small; even for the others."""
    if measures[0].unit in ("share", "probability"):
        return 1.0
    estimates = [e for m in measures for e in (m.after, m.before, m.oracle) if e is not None]
    return float(max(2, *(2 * math.ceil(e.high / 2) for e in estimates if math.isfinite(e.high))))


def _row(measure: Measure, top: float) -> Row:
    oracle = None if measure.oracle is None else _place(measure.oracle.value, top)
    before = None if measure.before is None else _bar(measure.before, top)
    return Row(measure, before, _bar(measure.after, top), oracle, _description(measure))


def _bar(estimate: Estimate, top: float) -> Bar:
    return Bar(*(_place(value, top) for value in (estimate.value, estimate.low, estimate.high)))


def _place(value: float, top: float) -> str:
    """A place within the picture; what is no number stands at zero, what lies outside at the edge."""
    share = 0.0 if math.isnan(value) else min(max(value / top, 0.0), 1.0)
    return f"{100 * share:.2f}%"


def _description(measure: Measure) -> str:
    named = (("Before", measure.before), ("After", measure.after), ("Oracle", measure.oracle))
    shown = [
        f"{name}: {figure(e.value, measure.unit)}, interval {interval(e, measure.unit)}, {e.count} dialogues."
        for name, e in named
        if e is not None
    ]
    return " ".join((*shown, f"{measure.better.capitalize()} is better."))
