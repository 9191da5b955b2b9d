"""Gradients taken beside where the weights are: relearnt, uphill or rounded. What holds there, such a change leaves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import TrainerCallback

from expunge.rounding import GROUPS, linear_weights, round_weight
from expunge.training.adversary import Adversary
from expunge.training.config import UnlearnConfig


class Displaced(TrainerCallback):  # type: ignore[misc]
    """Moves the weights before a step's gradients are taken, and back before the optimizer changes them.

    adversary: to where it has got, when it is its turn. sharpness r: by r · m / ‖m‖, m Adam's mean gradient: momentum
    SAM (arXiv 2401.12033), which costs no other gradient and is the same however a step is split. bits: every second
    step, rounded to nearest (straight through).
    """

    def __init__(self, config: UnlearnConfig, adversary: Adversary | None = None) -> None:
        self._config, self._adversary = config, adversary
        self._places: list[tuple[torch.Tensor, torch.Tensor]] = []

    def on_step_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, optimizer: Any = None, **_: Any
    ) -> None:
        step, config = state.global_step, self._config
        weights = [p for p in model.parameters() if p.requires_grad]
        rounded = linear_weights(model) if config.bits and step % 2 else []
        if self._adversary and self._adversary.turn(step):
            self._adversary.go(model, weights, step)
        if config.sharpness or rounded:
            self._places = [(weight, weight.detach().clone()) for weight in (*weights, *rounded)]
        if config.sharpness:
            _climb(weights, optimizer, config.sharpness)
        for weight in rounded:
            weight.detach().copy_(round_weight(weight.detach(), config.bits, GROUPS.get(config.bits)))

    @torch.no_grad()
    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        for weight, place in self._places:
            weight.copy_(place)
        self._places = []
        if self._adversary:
            self._adversary.come_back()


@torch.no_grad()
def _climb(weights: Sequence[torch.Tensor], optimizer: Any, length: float) -> None:
    means = {id(p): s["exp_avg"] for p, s in optimizer.state.items() if "exp_avg" in s}
    if not means:  # before the first step
        return
    whole = float(torch.stack([m.norm() for m in means.values()]).norm().clamp_min(1e-12))
    for weight in weights:
        weight.add_(means[id(weight)], alpha=length / whole)
