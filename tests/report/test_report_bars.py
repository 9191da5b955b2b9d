"""The bars: what their places are worked out from."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from expunge.audit.result import Audit, Estimate, Measure
from expunge.report.bars import Chart, charts
from expunge.report.html import page

Fake = Callable[..., Audit]
RATIO = Measure("r", "R", "", "fluency", "ratio", "lower", Estimate(3.0, 2.0, 5.0, 9), Estimate(1.0, 1.0, 1.0, 9))
LEAK = Measure("privleak", "P", "", "membership", "share", "nearer the oracle", Estimate(-1.0, -1.0, -0.5, 9))
AUC = Measure("membership_mink", "M", "", "membership", "probability", "nearer the oracle", Estimate(0.5, 0.25, 1, 9))


def of(fake: Fake, *measures: Measure) -> list[Chart]:
    audit = fake(0, measures=measures)
    assert page(audit)
    return list(charts(audit))


def test_by_hand(fake: Fake) -> None:
    """The axis ends at 6, the next even number."""
    (chart,) = of(fake, RATIO)
    assert [text for _, text in chart.ticks] == ["0×", "1.5×", "3×", "4.5×", "6×"]
    after = chart.rows[0].after
    assert (after.start, after.length, after.low, after.high) == ("0.00%", "50.00%", "33.33%", "83.33%")


@pytest.mark.parametrize("unit", ["ratio", "nats", "steps", "share"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_is_drawn_nevertheless(fake: Fake, unit: str, value: float) -> None:
    odd = Estimate(value, value, value, 3)
    (chart,) = of(fake, Measure("r", "R", "", "fluency", unit, "lower", odd, odd))  # type: ignore[arg-type]
    assert chart.rows[0].after.length == ("0.00%" if math.isnan(value) else "100.00%")


def test_what_is_below_zero_has_an_axis_of_its_own_and_goes_to_the_left(fake: Fake) -> None:
    """−1 to 1: zero is the middle, −½ a quarter."""
    plain, signed = of(fake, AUC, LEAK)
    assert plain.rows[0].after.start == "0.00%" and plain.ticks[0][1] == "0"
    assert signed.ticks == (
        ("0.00%", "-100%"),
        ("25.00%", "-50%"),
        ("50.00%", "0%"),
        ("75.00%", "50%"),
        ("100.00%", "100%"),
    )
    after = signed.rows[0].after
    assert (after.start, after.length, after.low, after.high) == ("0.00%", "50.00%", "0.00%", "25.00%")
    none, positive = Estimate(0.0, -0.1, 0.1, 9), Estimate(0.5, -0.5, 3.0, 9)
    (chart,) = of(fake, replace(LEAK, after=none), replace(LEAK, key="other", after=positive))
    assert [(row.after.start, row.after.length) for row in chart.rows] == [("50.00%", "0.00%"), ("50.00%", "25.00%")]
    assert chart.rows[1].after.high == "100.00%"
