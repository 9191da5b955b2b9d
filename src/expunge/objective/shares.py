"""Each token's share of a mean, so that padding, batch split and accumulation never change a loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def row_shares(counts: Sequence[int], rows: int) -> torch.Tensor:
    """Weights float [tokens] of rows with so many tokens each, in order: 1 / (rows · tokens of its row).

    Every row counts the same, however long; `rows` is the number of rows in the whole step, not in this part of it.
    """
    return torch.cat([torch.full((count,), 1 / (count * rows)) for count in counts])


def weighted_sum(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Σ w · v. A weight of zero removes its token even where the value is not finite."""
    return (torch.where(weights > 0, values, 0.0) * weights).sum()
