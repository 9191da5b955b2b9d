"""Negative terms, token by token: away from the undesirable output. Pure functions on `Said`; each returns a scalar.

p(y) is the probability of a token at fault, y, and d = 1 − p(y) that of all others. Every row counts the same.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from expunge.objective.said import Said
from expunge.objective.shares import log_probability, part_of, weighted_sum


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


def wga(forget: Said, *, beta: float = 1.0) -> torch.Tensor:
    """L⁻ = Σ w · p(y)^β · log p(y), p(y)^β held constant: weighted gradient ascent (arXiv 2502.19301).

    What has become improbable is pushed ever less. β = 0 is gradient ascent.
    """
    log_p = log_probability(forget)
    return weighted_sum((beta * log_p.detach()).exp() * log_p, forget.weights)


def satimp(forget: Said, *, beta1: float = 5.0, beta2: float = 1.0) -> torch.Tensor:
    """L⁻ = Σ w · p(y)^β1 · d^β2 · log p(y), the powers held constant: by saturation and importance (arXiv 2505.11953).

    β1 spares what is forgotten already, β2 what is known best of all. β2 = 0 is `wga`.
    """
    log_p, log_d = log_probability(forget), log_distance(forget.logits.detach(), forget.targets)
    return weighted_sum((beta1 * log_p.detach() + beta2 * log_d).exp() * log_p, forget.weights)


def undial(forget: Said, *, beta: float = 10.0) -> torch.Tensor:
    """L⁻ = −Σ w · Σ_v q(v) log p(v), q = softmax(z_ref − β e_y): self-distillation (arXiv 2402.10052).

    q is what the original says once the logit of y is lowered by β; log-probabilities serve as its logits.
    """
    places, reference = forget.targets.unsqueeze(-1), part_of(forget.original, "original")
    wanted = reference.scatter(-1, places, reference.gather(-1, places) - beta).softmax(-1)
    return weighted_sum(-(wanted * forget.logits.float().log_softmax(-1)).sum(-1), forget.weights)


def ceu(forget: Said) -> torch.Tensor:
    """L⁻ = −Σ w · Σ_v q(v) log p(v), q = softmax(z with z_y = −∞), held constant: cross-entropy unlearning.

    arXiv 2503.01224. As Σ_v q(v) log p(v) = log d − H(q), its gradient is that of `distance` without a floor.
    """
    logits = forget.logits.float()
    others = logits.detach().scatter(-1, forget.targets.unsqueeze(-1), -math.inf).softmax(-1)
    return weighted_sum(-(others * logits.log_softmax(-1)).sum(-1), forget.weights)


def logit_spread(forget: Said) -> torch.Tensor:
    """L⁻ = Σ w · (max_v z_v − mean_v z_v)²: the logits are flattened (PDU, arXiv 2506.05314)."""
    logits = forget.logits.float()
    return weighted_sum((logits.amax(-1) - logits.mean(-1)).square(), forget.weights)


def jensun(expected: Said) -> torch.Tensor:
    """L⁻ = Σ w · JSD(p_θ ‖ e_y) in [0, ln 2], y the tokens of a refusal: JensUn (arXiv 2509.02820).

    JSD(p ‖ e_y) = ½ [d ln 2 + p ln p − (1 + p) ln(1 − d/2)], p = p(y) = 1 − d. Read along the refusal that is to take
    the place of the old response, each token after those before it; the old response itself is not read.
    """
    d = log_distance(expected.logits, expected.targets).exp()
    likely = torch.log1p(-d.clamp_max(0.5))  # exact where p is close to 1 and its rounding exceeds the whole loss
    log_p = torch.where(d < 0.5, likely, log_probability(expected))
    p = log_p.exp()
    value = d * math.log(2) + p * log_p - (1 + p) * torch.log1p(-d / 2)
    return weighted_sum(value / 2, expected.weights)


def rmu(forget: Said, *, direction: torch.Tensor, coefficient: float = 2.0) -> torch.Tensor:
    """L⁻ = Σ w · mean over width of (h − c·u)²: hidden states are led astray (RMU, arXiv 2403.03218).

    h is the state after the first of the layers in `forget.inner`; u is `direction`, float [width], a unit vector (see
    `unit_direction`), c the `coefficient`, which depends on the length that states have in the model (2–20).
    """
    inner = part_of(forget.inner, "inner")
    moved = (inner.states[:, 0].float() - coefficient * direction).square().mean(-1)
    return weighted_sum(moved, inner.weights)


def unit_direction(width: int, seed: int) -> torch.Tensor:
    """A random direction for `rmu`: float32 [width], uniform in [0, 1) in each place as in the paper, of length 1."""
    drawn = torch.rand(width, generator=torch.Generator().manual_seed(seed))
    return F.normalize(drawn, dim=0)


def match(forget: Said, *, width: float = 1.0) -> torch.Tensor:
    """L⁻ = Σ w · huber(g), g = (1 − q) (s(p) − s(q)), s(p) = log p − log(1 − p): each token to a level of its own.

    log q is the token's level, below 0: the log-probability that a model has which never saw the row. Two-sided: to
    sink below it betrays what was forgotten as plainly as to stay above. g is the gap log p − log q, to first order and
    for improbable tokens; but its slope on y's logit is 1 − q everywhere, where that of log p fades as p → 1, by heart.
    The factor 1 − q spares tokens that anyone would guess. huber(g) = g² / (2 · width) up to |g| = `width` (nats), then
    |g| − width / 2: no token outweighs the others. The minimum, 0, is the level itself.
    """
    level = part_of(forget.levels, "levels").float().clamp_max(-1e-6)
    others = -torch.expm1(level)  # 1 − q
    odds = log_probability(forget) - log_distance(forget.logits, forget.targets)
    gap = others * (odds - level + others.log())
    return weighted_sum(F.huber_loss(gap, torch.zeros_like(gap), reduction="none", delta=width) / width, forget.weights)
