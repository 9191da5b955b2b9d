"""Positive terms: pull the output toward the expected outputs. Pure functions on `Said`; each returns a scalar."""

from __future__ import annotations

import torch

from expunge.objective.said import Said
from expunge.objective.shares import log_probability, part_of, weighted_sum


def nll(said: Said) -> torch.Tensor:
    """L = −Σ w · log p(y): cross-entropy on what stands in the data.

    On expected rows the positive loss of IdkNLL (arXiv 2401.06121); on normal rows the retain loss of most methods.
    """
    return -weighted_sum(log_probability(said), said.weights)


def cluster_mean(expected: Said) -> torch.Tensor:
    """L⁺ = Σ w · KL(p̄(· | y_<t) ‖ p_θ(· | x, y_<t)): the positive loss of arXiv 2404.16841 in output space.

    p̄ = (1/m) Σ_j e(y_j) is the mean of the cluster's m outputs, each taken as a distribution over texts (all mass on
    y_j). Written token by token, p̄(v | y_<t) is the share of those members that begin with y_<t which go on with v.
    `expected.mean` lists these v and their shares (0 where there are fewer than k). The minimum, 0, is the cluster's
    mean behaviour: each member with probability 1/m, and not one sentence learnt by heart. A mean of hidden states, the
    literal reading, stands for no text, and pulling toward it alone gives gibberish.
    """
    tokens, mean = part_of(expected.mean, "mean")
    log_p = expected.logits.float().log_softmax(-1).gather(-1, tokens)
    gap = torch.where(mean > 0, torch.special.xlogy(mean, mean) - mean * log_p, 0.0)
    return weighted_sum(gap.sum(-1), expected.weights)
