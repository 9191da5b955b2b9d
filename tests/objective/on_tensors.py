"""The losses on plain tensors: thin covers of the terms on `Said`, for arithmetic by hand.

Shapes: `logits` float [tokens, vocabulary]; `targets` int64 [tokens]; `weights` float [tokens], each token's share of
the mean (they sum to 1 over a whole step, however it is split). Each returns a scalar.
"""

from __future__ import annotations

import torch

from expunge.objective.negative import distance
from expunge.objective.normal import hidden, kl
from expunge.objective.positive import cluster_mean
from expunge.objective.said import Inner, Said


def distance_loss(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, *, ignorance: float = 0.0
) -> torch.Tensor:
    """`negative.distance`."""
    return distance(_said(logits, weights, targets=targets), ignorance=ignorance)


def cluster_mean_loss(
    logits: torch.Tensor, tokens: torch.Tensor, mean: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """`positive.cluster_mean`."""
    return cluster_mean(_said(logits, weights, mean=(tokens, mean)))


def kl_loss(logits: torch.Tensor, reference: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """`normal.kl`; reference: float [tokens, vocabulary], log-probabilities of the original model."""
    return kl(_said(logits, weights, original=reference))


def hidden_loss(states: torch.Tensor, reference: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """`normal.hidden`; states, reference: float [tokens, layers, width] of the model and of the original."""
    logits = states.new_zeros(len(weights), 1)
    return hidden(_said(logits, weights, inner=Inner(states, weights, reference)))


def _said(
    logits: torch.Tensor,
    weights: torch.Tensor,
    *,
    targets: torch.Tensor | None = None,
    original: torch.Tensor | None = None,
    mean: tuple[torch.Tensor, torch.Tensor] | None = None,
    inner: Inner | None = None,
) -> Said:
    none = torch.zeros(len(weights), dtype=torch.int64, device=logits.device)
    targets = none if targets is None else targets
    return Said(logits, targets, none, weights, 1, original=original, mean=mean, inner=inner)
