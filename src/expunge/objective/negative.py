"""Negative terms, token by token: away from the undesirable output. Pure functions on `Said`; each returns a scalar.

p(y) is the probability of a token at fault, y, and d = 1 − p(y) that of all others. Every row counts the same.
"""

from __future__ import annotations

import math

import torch

from expunge.objective.said import Said
from expunge.objective.shares import log_probability, weighted_sum


def log_distance(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """log d of each token, where d = TV(p, e_y) = 1 − p(y), in (0, 1).

    d is the total-variation distance between what the model says now, p = softmax(logits), and the undesirable token y
    as a distribution, e_y. Computed as logsumexp over the other tokens minus logsumexp over all, so that it is exact
    where p(y) is close to 1 and a float32 `1 − p` would be 0.
    """
    others = logits.float().scatter(-1, targets.unsqueeze(-1), -math.inf)
    return others.logsumexp(-1) - logits.float().logsumexp(-1)


def distance(forget: Said, *, ignorance: float = 0.0) -> torch.Tensor:
    """L⁻ = Σ w · max(0, log(1 − q) − log d), d = TV(p, e_y).

    The negative loss of arXiv 2404.16841 with a bounded distance. d cannot exceed 1, so L⁻ cannot fall below 0 and its
    gradient fades as the distance fills, unlike gradient ascent, whose loss has no floor; and where the answer is known
    by heart (p(y) → 1) the gradient keeps its strength, unlike that of d itself. `ignorance` is q in [0, 1): the
    probability that never-seen tokens have. A token that has sunk to q is left alone: pushing on would show an attacker
    what was forgotten.
    """
    gap = math.log1p(-ignorance) - log_distance(forget.logits, forget.targets)
    return weighted_sum(gap.clamp_min(0.0), forget.weights)


def ascent(forget: Said) -> torch.Tensor:
    """L⁻ = Σ w · log p(y): gradient ascent (arXiv 2210.01504). It has no floor."""
    return weighted_sum(log_probability(forget), forget.weights)
