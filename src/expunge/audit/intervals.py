"""Figures with their 95 % intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from expunge.audit.result import Estimate

_NONE = (math.nan, math.nan)
_TAIL = (1 - 0.95) / 2
DRAWS = 2000
"""Of a bootstrap."""

Sides = tuple[Sequence[float], Sequence[float]]
"""Scores of the members and of the others; the higher, the more like a member."""


def share(hits: int, count: int) -> Estimate:
    """hits / count with the exact binomial interval (Clopper & Pearson 1934, two-sided).

    Raises:
        ValueError: count is 0, or hits lies outside [0, count].
    """
    from scipy.stats import beta

    if count < 1 or not 0 <= hits <= count:
        raise ValueError(f"{hits} of {count} is no share")
    low = 0.0 if hits == 0 else float(beta.ppf(_TAIL, hits, count - hits + 1))
    high = 1.0 if hits == count else float(beta.ppf(1 - _TAIL, hits + 1, count - hits))
    return Estimate(hits / count, low, high, count)


def mean(values: Sequence[float]) -> Estimate:
    """The mean with its percentile bootstrap interval (Efron 1979), over dialogues; the draws are seeded. Of one value
    there is none: its ends are no numbers.

    Raises:
        ValueError: there are no values.
    """
    data = np.asarray(values, dtype=np.float64)
    if not data.size:
        raise ValueError("no values")
    low, high = np.quantile(_resample(data).mean(1), [_TAIL, 1 - _TAIL]) if data.size > 1 else _NONE
    return Estimate(float(data.mean()), float(low), float(high), data.size)


def difference(values: Sequence[float]) -> Estimate:
    """The mean of differences between two shares of the same rows, each in [−1, 1], with a bootstrap over rows.

    A bootstrap of rows that are all alike has no width; each side is at least as wide as `share` is at none of so many.

    Raises:
        ValueError: there are no values.
    """
    found = mean(values)
    least = share(0, found.count).high
    low, high = found.value - least, found.value + least
    if found.count > 1:
        low, high = min(found.low, low), max(found.high, high)
    return Estimate(found.value, max(-1.0, low), min(1.0, high), found.count)


def perplexity_ratio(answers: Sequence[float], expected: Sequence[float]) -> Estimate:
    """exp(mean NLL of the answers − mean NLL of the expected outputs), NLL in nats per token; bootstrap over both,
    and none where either is one value alone.

    Raises:
        ValueError: either has no values.
    """
    if not len(answers) or not len(expected):
        raise ValueError("no values")
    a, e = np.asarray(answers, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    drawn = _resample(a).mean(1) - _resample(e).mean(1)
    low, high = np.quantile(drawn, [0.025, 0.975]) if min(a.size, e.size) > 1 else _NONE
    return Estimate(float(np.exp(a.mean() - e.mean())), float(np.exp(low)), float(np.exp(high)), a.size)


def auc(members: Sequence[float], others: Sequence[float]) -> Estimate:
    """The probability that a member scores above another row, ties counted half: the area under the ROC curve.

    Percentile bootstrap over the rows of each side. Where that has no width (the sides do not overlap, or all are
    alike) it is what so many rows of the smaller side allow that show no exception (`share`). Not a number where a
    score is none.

    Raises:
        ValueError: either has no values.
    """
    value, drawn = _aucs(members, others)
    low, high = np.quantile(drawn, [0.025, 0.975])
    least = share(0, min(len(members), len(others))).high if low == high else 0.0
    low, high = np.clip([low - least, high + least], 0, 1)
    return Estimate(value, float(low), float(high), len(members) + len(others))


def apart(ours: Sides, oracle: Sides) -> Estimate:
    """How far an AUC is from the oracle's: the difference, with a bootstrap that draws the same rows for both models.

    Where that has no width, it is as `auc`'s.

    Raises:
        ValueError: there are no values.
    """
    members, others = ours
    value, drawn = _aucs(members, others)
    ideal, ideals = _aucs(*oracle)
    low, high = np.quantile(drawn - ideals, [0.025, 0.975])
    least = share(0, min(len(members), len(others))).high if low == high else 0.0
    low, high = np.clip([low - least, high + least], -1, 1)
    return Estimate(value - ideal, float(low), float(high), len(members) + len(others))


def privleak(ours: Sides, oracle: Sides) -> Estimate | None:
    """PrivLeak (Shi et al. 2024): (AUC − AUC of the oracle) / AUC of the oracle, the AUC there being that of *others*.

    So it is −1 for what is still wholly known, 0 for what the oracle would say, above 0 for what was pressed below it.
    The bootstrap draws the same rows for both models. None where the oracle's AUC of others is 0: nothing to divide by.

    Raises:
        ValueError: there are no values.
    """
    members, others = ours
    value, drawn = _aucs(members, others)
    ideal, ideals = _aucs(*oracle)
    if ideal == 1:
        return None
    least = 1 / (2 * len(members) * len(others))  # half a pair: a draw may well hold no pair in the wrong order
    low, high = np.quantile((ideals - drawn) / np.maximum(1 - ideals, least), [0.025, 0.975])
    return Estimate((ideal - value) / (1 - ideal), float(low), float(high), len(members) + len(others))


def _aucs(members: Sequence[float], others: Sequence[float]) -> tuple[float, np.ndarray]:
    """The AUC, and those of resampled rows; which rows are drawn depends on their numbers alone."""
    if not len(members) or not len(others):
        raise ValueError("no values")
    ours, theirs = np.asarray(members, dtype=np.float64), np.asarray(others, dtype=np.float64)
    if np.isnan(ours).any() or np.isnan(theirs).any():
        return math.nan, np.full(DRAWS, math.nan)
    order = np.argsort(theirs)
    below, upto = (np.searchsorted(theirs[order], ours, side=side) for side in ("left", "right"))
    pairs = 2 * ours.size * theirs.size
    generator = np.random.default_rng((ours.size, theirs.size))
    found = []
    for start in range(0, DRAWS, 100):  # in parts, for memory
        size = min(100, DRAWS - start)
        drawn, counts = (_counts(generator, n, size) for n in (ours.size, theirs.size))
        passed = np.concatenate([np.zeros((size, 1), dtype=np.int64), counts[:, order].cumsum(1)], 1)
        found.append((drawn * (passed[:, below] + passed[:, upto])).sum(1) / pairs)
    return float((below + upto).sum() / pairs), np.concatenate(found)


def _counts(generator: np.random.Generator, size: int, draws: int) -> np.ndarray:
    """How often each of `size` rows is drawn, in each of the draws: [draws, size]."""
    rows = generator.integers(0, size, (draws, size)) + size * np.arange(draws)[:, None]
    return np.bincount(rows.ravel(), minlength=draws * size).reshape(draws, size)


def _resample(data: np.ndarray) -> np.ndarray:
    return data[np.random.default_rng(data.size).integers(0, data.size, (DRAWS, data.size))]
