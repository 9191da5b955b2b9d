"""TOFU's model utility: one figure of what the model still can."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from expunge.audit.result import Estimate

Table = Sequence[Sequence[float]]
"""Several figures of the same rows: [figures, rows]."""


def utility(sets: Sequence[Table], *, draws: int = 2000) -> Estimate:
    """Harmonic mean of the means of all figures of all sets (Maini et al. 2024, section 2.2.2).

    Percentile bootstrap over the rows of each set, a row with all its figures; the draws are seeded.

    Raises:
        ValueError: there are no values.
    """
    tables = [np.asarray(table, dtype=np.float64) for table in sets]
    if not tables or not all(table.size for table in tables):
        raise ValueError("no values")
    value = _harmonic(np.concatenate([table.mean(1) for table in tables]))
    generator = np.random.default_rng([table.shape[1] for table in tables])
    drawn = []
    for table in tables:
        rows = generator.integers(0, table.shape[1], (draws, table.shape[1]))
        drawn.append(np.stack([figures[rows].mean(1) for figures in table]))
    low, high = np.quantile(_harmonic(np.concatenate(drawn)), [0.025, 0.975])
    return Estimate(float(value), float(low), float(high), sum(table.shape[1] for table in tables))


def _harmonic(values: Any) -> Any:
    """The mean over the first axis; 0 where one is 0. (scipy's takes more than a second to import.)"""
    with np.errstate(divide="ignore"):
        return len(values) / (1 / values).sum(0)
