"""Sums and means over tokens and rows, such that padding, batch split and accumulation never change a loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F

from expunge.objective.said import Said

T = TypeVar("T")


def row_shares(counts: Sequence[int], rows: int) -> torch.Tensor:
    """Weights float [tokens] of rows with so many tokens each, in order: 1 / (rows · tokens of its row).

    Every row counts the same, however long; `rows` is the number of rows in the whole step, not in this part of it.
    """
    return torch.cat([torch.full((count,), 1 / (count * rows)) for count in counts])


def weighted_sum(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Σ w · v. A weight of zero removes its token even where the value is not finite."""
    return (torch.where(weights > 0, values, 0.0) * weights).sum()


def row_sums(values: torch.Tensor, said: Said) -> torch.Tensor:
    """Σ v over the tokens of each row: float [rows of this part], in order. Every row has tokens.

    Row by row and not by scattered adding, which on a GPU gives another sum each time.
    """
    return torch.stack([part.sum() for part in _rows(values, said)])


def row_means(values: torch.Tensor, said: Said) -> torch.Tensor:
    """The mean of v over the tokens of each row: float [rows of this part], in order."""
    return torch.stack([part.mean() for part in _rows(values, said)])


def log_probability(said: Said) -> torch.Tensor:
    """log p(y) of each token, float32 [tokens]."""
    if said.log_p is not None:
        return said.log_p
    return -F.cross_entropy(said.logits.float(), said.targets, reduction="none")


def part_of(value: T | None, name: str) -> T:
    """A field of `Said` that a term cannot do without.

    Raises:
        ValueError: it was left out.
    """
    if value is None:
        raise ValueError(f"this term needs `{name}`, which was left out")
    return value


def _rows(values: torch.Tensor, said: Said) -> tuple[torch.Tensor, ...]:
    return torch.split_with_sizes(values, torch.bincount(said.rows).tolist())
