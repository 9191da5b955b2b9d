"""Intervals against scipy, and against cases worked by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from expunge.audit import intervals
from expunge.audit.result import Estimate


@given(count=st.integers(1, 400), part=st.floats(0, 1))
def test_share_equals_scipys_exact_interval(count: int, part: float) -> None:
    hits = round(part * count)
    found = intervals.share(hits, count)
    exact = binomtest(hits, count).proportion_ci(0.95, "exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=1e-9)
    assert found.low <= found.value <= found.high and found.count == count


def test_no_leak_in_72_prompts_bounds_the_leak_by_five_per_cent() -> None:
    """0 of n: the upper bound u solves (1 − u)^n = 0.025, so u = 1 − 0.025^(1/n); 0.05 needs n ≥ 72."""
    assert intervals.share(0, 72).high == pytest.approx(1 - 0.025 ** (1 / 72))
    assert intervals.share(0, 72).high <= 0.05 < intervals.share(0, 71).high


@given(values=st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.25, 1.0]), min_size=1, max_size=40))
def test_a_difference_is_no_surer_than_a_share_of_so_many(values: list[float]) -> None:
    found, mean = intervals.difference(values), intervals.mean(values * 2 if len(values) == 1 else values)
    assert -1 <= found.low <= mean.low and mean.high <= found.high <= 1 and found.value == mean.value
    assert found.high >= min(1, found.value + intervals.share(0, len(values)).high)


def test_rows_all_alike_have_the_bounds_of_a_share() -> None:
    """All of four read: 1, at least 0.025^(1/4), as for 4 of 4. None more: within 1 − 0.025^(1/4) of 0."""
    least = 1 - 0.025 ** (1 / 4)
    all_, none = intervals.difference([1.0] * 4), intervals.difference([0.0] * 4)
    assert (all_.value, all_.low, all_.high) == pytest.approx((1, 1 - least, 1))
    assert (none.value, none.low, none.high) == pytest.approx((0, -least, least))
    one = intervals.difference([0.0])
    assert (one.value, one.low, one.high) == pytest.approx((0, -0.975, 0.975))


def test_mean_is_between_its_bounds_and_repeatable() -> None:
    values = np.random.default_rng(0).random(50).tolist()
    found = intervals.mean(values)
    assert found == intervals.mean(values)
    assert found.value == pytest.approx(np.mean(values))
    assert found.low < found.value < found.high
    half_width = 1.96 * np.std(values) / math.sqrt(50)
    assert found.high - found.low == pytest.approx(2 * half_width, rel=0.15)


def test_one_value_has_no_interval() -> None:
    """One dialogue of .9 before and .8 after was "better" for certain."""
    ratio = intervals.perplexity_ratio
    for found in (intervals.mean([0.9]), ratio([0.5], [0.25, 0.75]), ratio([0.25, 0.75], [0.5])):
        assert math.isnan(found.low) and math.isnan(found.high) and math.isfinite(found.value)
    assert math.isfinite(ratio([0.5, 0.6], [0.25, 0.75]).low)


@pytest.mark.parametrize(
    "interval",
    [
        lambda rows: figures(intervals.mean(rows)),
        lambda rows: np.log(figures(intervals.perplexity_ratio(rows, [0.0, 0.0]))),
        lambda rows: figures(intervals.auc(rows, [0.5])),
        lambda rows: figures(intervals.apart((rows, [0.5]), ([0.5] * len(rows), [0.5]))),
        lambda rows: figures(intervals.privleak((rows, [0.5]), ([0.5] * len(rows), [0.5]))) / 2,
    ],
)
def test_a_fortieth_of_the_draws_lies_beyond_either_end(interval: Callable[[list[float]], np.ndarray]) -> None:
    """The mean of n rows, half 0 and half 1, has a deviation of ½ / √n: 1.96 of them on each side."""
    found = [np.diff(interval([0.0, 1.0] * (n // 2))) * math.sqrt(n) / 0.98 for n in range(200, 300, 10)]
    assert np.mean(found, 0) == pytest.approx([1, 1], abs=0.03)


def figures(found: Estimate | None) -> np.ndarray:
    assert found is not None
    return np.array([found.low, found.value, found.high])


def test_perplexity_ratio_by_hand() -> None:
    """Mean NLL 2 ln 2 against ln 2: perplexity 4 against 2, ratio 2."""
    found = intervals.perplexity_ratio([2 * math.log(2)] * 3, [math.log(2)] * 5)
    assert (found.value, found.low, found.high) == pytest.approx((2, 2, 2))


def test_nothing_counted_is_an_error() -> None:
    calls = [lambda: intervals.share(0, 0), lambda: intervals.share(3, 2), lambda: intervals.mean([])]
    calls += [lambda: intervals.perplexity_ratio([], [1.0]), lambda: intervals.perplexity_ratio([1.0], [])]
    for call in calls:
        with pytest.raises(ValueError, match="no"):
            call()


def test_an_auc_of_sides_apart_has_the_bounds_of_a_share() -> None:
    """0 of 4 is at most 1 − 0.025^(1/4); with one row a side nothing is known."""
    least = 1 - 0.025 ** (1 / 4)
    apart = intervals.auc([1.0, 2.0, 3.0, 4.0], [0.0, -1.0, -2.0, -3.0, -4.0])
    assert (apart.value, apart.low, apart.high) == pytest.approx((1, 1 - least, 1))
    alike = intervals.auc([1.0] * 4, [1.0] * 4)
    assert (alike.value, alike.low, alike.high) == pytest.approx((0.5, max(0, 0.5 - least), min(1, 0.5 + least)))
    assert intervals.auc([1.0], [0.0]).low == pytest.approx(0.025) == intervals.auc([1.0, 2.0], [0.0]).low


@pytest.mark.parametrize("side", [0, 1])
def test_an_auc_of_what_is_no_number_is_none(side: int) -> None:
    sides = [[1.0, 2.0], [0.0, 3.0]]
    sides[side][1] = math.nan
    found = intervals.auc(sides[0], sides[1])
    assert math.isnan(found.value) and math.isnan(found.low) and math.isnan(found.high)
