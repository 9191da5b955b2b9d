"""Each token's share of a mean, so that padding, batch split and accumulation never change a loss."""

from __future__ import annotations

import torch


def row_shares(mask: torch.Tensor, rows: int) -> torch.Tensor:
    """Weights float [tokens] for the true places of `mask` [batch, width] in row order: 1 / (rows · tokens of its row).

    Every row counts the same, however long; `rows` is the number of rows in the whole step, not in this part of it.
    """
    counts = mask.sum(1, keepdim=True).clamp_min(1)
    return (mask / counts / rows)[mask]


def weighted_sum(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Σ w · v. A weight of zero removes its token even where the value is not finite."""
    return (torch.where(weights > 0, values, 0.0) * weights).sum()
