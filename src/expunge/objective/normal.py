"""Normal terms: keep what the model does on ordinary dialogues. Pure functions on tensors."""

from __future__ import annotations

import torch

from expunge.objective.shares import weighted_sum


def kl_loss(logits: torch.Tensor, reference: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """L° = Σ w · KL(p_ref ‖ p_θ): the normal loss of arXiv 2404.16841, over response tokens only.

    logits: float [tokens, vocabulary] of the model; reference: log-probabilities of the original model, same shape.
    """
    log_p = logits.float().log_softmax(-1)
    return weighted_sum((reference.exp() * (reference - log_p)).sum(-1), weights)
