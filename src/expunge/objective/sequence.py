"""Negative terms, row by row: what a whole response at fault gets. Pure functions on `Said`; each returns a scalar.

NLL is summed over the tokens at fault of a row; a row counts 1 / (rows of the step).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from expunge.objective.said import Said
from expunge.objective.shares import log_probability, part_of, row_means, row_sums


def npo(forget: Said, *, beta: float = 0.1) -> Tensor:
    """L⁻ = −(2/β) · mean over rows of log σ(β (NLL_θ − NLL_ref)): negative preference (arXiv 2404.05868, eq. 3)."""
    risen = -_log_ratio(forget)
    return -2 / beta * F.logsigmoid(beta * risen).sum() / forget.count


def simnpo(forget: Said, *, beta: float = 4.5, delta: float = 0.0) -> Tensor:
    """L⁻ = −(2/β) · mean over rows of log σ(β (NLL_θ / tokens − δ)): NPO without the original (arXiv 2410.07163).

    δ is −γ/β in the paper's letters; both are 0 by default.
    """
    means = -row_means(log_probability(forget), forget)
    return -2 / beta * F.logsigmoid(beta * (means - delta)).sum() / forget.count


def dpo(forget: Said, expected: Said, *, beta: float = 0.1) -> Tensor:
    """L⁻ = −(2/β) · mean over pairs of log σ(β [r(expected) − r(forget)]), r = Σ log p_θ(y) − log p_ref(y).

    With a refusal as the expected output it is IdkDPO (arXiv 2401.06121), with plausible other answers AltPO (arXiv
    2409.13474). The n-th forget row and the n-th expected row are a pair.

    Raises:
        ValueError: there are not as many rows of the one as of the other.
    """
    won, lost = _pairs(_log_ratio(expected), _log_ratio(forget))
    return -2 / beta * F.logsigmoid(beta * (won - lost)).sum() / forget.count


def flat(forget: Said, expected: Said) -> Tensor:
    """L⁻ = mean over pairs of exp(P(forget) − 1) − P(expected): loss adjustment (FLAT, arXiv 2410.11143), KL.

    P is the mean over a row's tokens of p(y). It is −[g(P(expected)) − f*(g(P(forget)))] for an f-divergence in its
    variational form; KL has g(v) = v and f*(u) = exp(u − 1). Rows are paired as in `dpo`.

    Raises:
        ValueError: there are not as many rows of the one as of the other.
    """
    wanted, bad = _pairs(_mean_probability(expected), _mean_probability(forget))
    return ((bad - 1).exp() - wanted).sum() / forget.count


def flat_tv(forget: Said, expected: Said) -> Tensor:
    """L⁻ = mean over pairs of ½ tanh P(forget) − ½ tanh P(expected): `flat` with the total variation.

    g(v) = ½ tanh v and f*(u) = u.

    Raises:
        ValueError: there are not as many rows of the one as of the other.
    """
    wanted, bad = _pairs(_mean_probability(expected), _mean_probability(forget))
    return (bad.tanh() - wanted.tanh()).sum() / (2 * forget.count)


def _mean_probability(said: Said) -> Tensor:
    return row_means(log_probability(said).exp(), said)


def _log_ratio(said: Said) -> Tensor:
    """r = Σ log p_θ(y) − log p_ref(y) of each row."""
    return row_sums(log_probability(said) - part_of(said.original_targets, "original_targets"), said)


def _pairs(expected: Tensor, forget: Tensor) -> tuple[Tensor, Tensor]:
    if len(expected) != len(forget):
        raise ValueError(f"rows come in pairs, but there are {len(forget)} forget and {len(expected)} expected rows")
    return expected, forget
