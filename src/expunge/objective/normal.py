"""Normal terms: keep what the model does on ordinary dialogues. Pure functions on tensors; each returns a scalar.

`weights` float [tokens]: each token's share of the mean.
"""

from __future__ import annotations

import torch

from expunge.objective.shares import weighted_sum


def kl_loss(logits: torch.Tensor, reference: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """L° = Σ w · KL(p_ref ‖ p_θ): the normal loss of arXiv 2404.16841, over response tokens only.

    logits: float [tokens, vocabulary] of the model; reference: log-probabilities of the original model, same shape.
    """
    log_p = logits.float().log_softmax(-1)
    return weighted_sum((reference.exp() * (reference - log_p)).sum(-1), weights)


def hidden_loss(hidden: torch.Tensor, reference: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """L° in hidden space: Σ w · mean over layers of ‖h − h_ref‖² / ‖h_ref‖², prompt tokens included.

    The retain term of RMU (arXiv 2403.03218), relative to the length of h_ref so that no layer outweighs another. It
    holds what the model makes of a prompt (who is asked about, which numbers), where KL sees only what it then says.

    hidden, reference: float [tokens, layers, width] of the model and of the original.
    """
    moved = (hidden.float() - reference).square().sum(-1) / reference.square().sum(-1).clamp_min(1e-12)
    return weighted_sum(moved.mean(-1), weights)
