"""Positive terms: pull the output toward the cluster mean of the expected outputs. Pure functions on tensors.

Shapes as in `negative`; here `targets` are the tokens of an expected output.
"""

from __future__ import annotations

import torch

from expunge.objective.shares import weighted_sum


def cluster_mean_loss(logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """L⁺ = KL(p̄_c ‖ p_θ) + const, p̄_c = (1/m) Σ_j e(y_j): the positive loss of arXiv 2404.16841 in output space.

    p̄_c is the mean of the cluster's m outputs, each taken as a distribution over texts (all mass on y_j); the loss is
    the distance of the model's own distribution to it. Written out, −(1/m) Σ_j log p_θ(y_j | x) − log m: the
    cross-entropy of every member in turn, so a step that draws member j uniformly is an unbiased estimate. Its
    minimum is the cluster's mean behaviour (each member with probability 1/m), not one sentence learnt by heart. A mean
    of hidden states, the literal reading, stands for no text, and pulling toward it alone gives gibberish.
    """
    return weighted_sum(torch.nn.functional.cross_entropy(logits.float(), targets, reduction="none"), weights)
