"""After training: go back toward the original as far as nothing that was forgotten returns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch

from expunge.model import LanguageModel

if TYPE_CHECKING:
    from expunge.training.active import ActiveSet


def step_back(lm: LanguageModel, original: Mapping[str, torch.Tensor], active: ActiveSet) -> float:
    """Go back from the trained weights toward the original ones for as long as nothing that was forgotten returns.

    θ(a) = θ_0 + a (θ − θ_0), a = 0.95, 0.90, …, 0.50; kept is the last `a` at which the active set stays empty. The way
    between two such models is smooth, and most of what was damaged on it comes back before the forgotten does
    (WiSE-FT, arXiv 2109.01903).
    """
    trained = {name: parameter.detach().clone() for name, parameter in trainable(lm)}

    def go_to(share: float) -> None:
        for name, parameter in trainable(lm):
            parameter.data.copy_(torch.lerp(original[name], trained[name], share))

    kept = 1.0
    for share in (round(1 - 0.05 * n, 2) for n in range(1, 11)):
        go_to(share)
        if active.judge()[0]:
            break
        kept = share
    go_to(kept)
    return kept


def trainable(lm: LanguageModel) -> Iterator[tuple[str, torch.nn.Parameter]]:
    """Names and values of the parameters that training may change."""
    return ((name, parameter) for name, parameter in lm.model.named_parameters() if parameter.requires_grad)
