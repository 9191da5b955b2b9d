"""Figures with their 95 % intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from expunge.audit.result import Estimate


def share(hits: int, count: int, *, level: float = 0.95) -> Estimate:
    """hits / count with the exact binomial interval (Clopper & Pearson 1934, two-sided).

    Raises:
        ValueError: count is 0, or hits lies outside [0, count].
    """
    from scipy.stats import beta

    if count < 1 or not 0 <= hits <= count:
        raise ValueError(f"{hits} of {count} is no share")
    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else float(beta.ppf(tail, hits, count - hits + 1))
    high = 1.0 if hits == count else float(beta.ppf(1 - tail, hits + 1, count - hits))
    return Estimate(hits / count, low, high, count)


def mean(values: Sequence[float], *, level: float = 0.95, draws: int = 2000) -> Estimate:
    """The mean with its percentile bootstrap interval (Efron 1979), over dialogues; the draws are seeded.

    Raises:
        ValueError: there are no values.
    """
    data = np.asarray(values, dtype=np.float64)
    if not data.size:
        raise ValueError("no values")
    resampled = _resample(data, draws).mean(1)
    tail = (1 - level) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return Estimate(float(data.mean()), float(low), float(high), data.size)


def perplexity_ratio(answers: Sequence[float], expected: Sequence[float], *, draws: int = 2000) -> Estimate:
    """exp(mean NLL of the answers − mean NLL of the expected outputs), NLL in nats per token; bootstrap over both.

    Raises:
        ValueError: either has no values.
    """
    if not len(answers) or not len(expected):
        raise ValueError("no values")
    a, e = np.asarray(answers, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    low, high = np.quantile(_resample(a, draws).mean(1) - _resample(e, draws).mean(1), [0.025, 0.975])
    return Estimate(float(np.exp(a.mean() - e.mean())), float(np.exp(low)), float(np.exp(high)), a.size)


def _resample(data: np.ndarray, draws: int) -> np.ndarray:
    return data[np.random.default_rng(data.size).integers(0, data.size, (draws, data.size))]
