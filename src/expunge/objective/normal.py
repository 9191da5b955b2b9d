"""Normal terms: keep what the model does on ordinary dialogues. Pure functions on `Said`; each returns a scalar.

Cross-entropy on normal rows is `positive.nll`, and `rise` less the original's.
"""

from __future__ import annotations

import math

import torch

from expunge.objective.said import Said
from expunge.objective.shares import log_probability, part_of, weighted_sum


def kl(normal: Said) -> torch.Tensor:
    """L° = Σ w · KL(p_ref ‖ p_θ): the normal loss of arXiv 2404.16841, over response tokens only."""
    log_p, reference = normal.logits.float().log_softmax(-1), part_of(normal.original, "original")
    return weighted_sum((reference.exp() * (reference - log_p)).sum(-1), normal.weights)


def kl_top(normal: Said) -> torch.Tensor:
    """L° = Σ w · KL(p_ref ‖ p_θ), with all tokens but the original's k likeliest taken for one.

    By the chain rule it is short of `kl` by p_ref(R) · KL(p_ref(· | R) ‖ p_θ(· | R)), R being all the others: never
    above it, 0 where it is 0, and blind to how p_θ divides what it gives to R. Nothing is asked of the original's
    output layer at a step.
    """
    tokens, reference = part_of(normal.top, "top")
    logits = normal.logits.float()
    others = logits.scatter(-1, tokens, -math.inf).logsumexp(-1, keepdim=True)
    log_p = torch.cat([logits.gather(-1, tokens), others], -1).log_softmax(-1)
    each = torch.where(reference > -math.inf, reference.exp() * (reference - log_p), 0.0)
    return weighted_sum(each.sum(-1), normal.weights)


GAIN = 1.0
"""Nats by which a token of an ordinary response may become likelier before `rise` takes no more notice."""


def rise(normal: Said) -> torch.Tensor:
    """L° = Σ w · max(log p_ref(y) − log p_θ(y), −GAIN): how much cross-entropy on what stands in the data has risen.

    Its gradient is that of cross-entropy. It is 0 before training; on responses drawn from the original, as long as no
    token gains so much, it is KL(p_ref ‖ p_θ) on the mean. What the original would hardly have said (an end where an
    answer was cut short, somebody else's words) would without the bound be learnt, and hide what is lost elsewhere.
    """
    risen = part_of(normal.original_targets, "original_targets") - log_probability(normal)
    return weighted_sum(risen.clamp(min=-GAIN), normal.weights)


def hidden(normal: Said) -> torch.Tensor:
    """L° in hidden space: Σ w · mean over layers of ‖h − h_ref‖² / ‖h_ref‖², prompt tokens included.

    The retain term of RMU (arXiv 2403.03218), relative to the length of h_ref so that no layer outweighs another. It
    holds what the model makes of a prompt (who is asked about, which numbers), where KL sees only what it then says.
    """
    inner = part_of(normal.inner, "inner")
    reference = part_of(inner.original, "inner.original")
    moved = (inner.states.float() - reference).square().sum(-1) / reference.square().sum(-1).clamp_min(1e-12)
    return weighted_sum(moved.mean(-1), inner.weights)


def hidden_mse(normal: Said) -> torch.Tensor:
    """L° = Σ w · mean over width of (h − h_ref)², after the first of the layers in `normal.inner`.

    The retain term of RMU (arXiv 2403.03218) as published, in the same units as its forget term `negative.rmu`.
    """
    inner = part_of(normal.inner, "inner")
    moved = inner.states[:, 0].float() - part_of(inner.original, "inner.original")[:, 0]
    return weighted_sum(moved.square().mean(-1), inner.weights)


def jsd(normal: Said) -> torch.Tensor:
    """L° = Σ w · JSD(p_θ ‖ p_ref) in [0, ln 2], with JSD(p ‖ q) = ½ KL(p ‖ m) + ½ KL(q ‖ m), m = ½ (p + q).

    The retain term of JensUn (arXiv 2509.02820).
    """
    log_p, log_q = normal.logits.float().log_softmax(-1), part_of(normal.original, "original")
    log_m = torch.logaddexp(log_p, log_q) - math.log(2)
    both = log_p.exp() * (log_p - log_m) + log_q.exp() * (log_q - log_m)
    return weighted_sum(both.sum(-1) / 2, normal.weights)
