"""Gradients taken beside where the weights are: uphill, or rounded. What holds there too, a small change leaves."""

from __future__ import annotations

from typing import Any

import torch
from transformers import TrainerCallback

from expunge.rounding import GROUPS, linear_weights, round_weight
from expunge.training.config import UnlearnConfig


class Displaced(TrainerCallback):  # type: ignore[misc]
    """Moves the weights before a step's gradients are taken, and back before the optimizer changes them.

    sharpness r: by r · m / ‖m‖, m Adam's mean gradient: momentum SAM (arXiv 2401.12033), which costs no other gradient
    and is the same however a step is split. bits: every second step, rounded to nearest (straight through).
    """

    def __init__(self, config: UnlearnConfig) -> None:
        self._config = config
        self._places: list[tuple[torch.Tensor, torch.Tensor]] = []

    @torch.no_grad()
    def on_step_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, optimizer: Any = None, **_: Any
    ) -> None:
        weights = [p for p in model.parameters() if p.requires_grad]
        rounded = linear_weights(model) if self._config.bits and state.global_step % 2 else []
        self._places = [(weight, weight.clone()) for weight in (*weights, *rounded)]
        if self._config.sharpness:
            means = {id(p): s["exp_avg"] for p, s in optimizer.state.items() if "exp_avg" in s}
            if means:  # before the first step there is none
                length = torch.stack([m.norm() for m in means.values()]).norm().clamp_min(1e-12)
                for weight in weights:
                    weight.add_(means[id(weight)], alpha=self._config.sharpness / float(length))
        for weight in rounded:
            weight.copy_(round_weight(weight, self._config.bits, GROUPS.get(self._config.bits)))

    @torch.no_grad()
    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        for weight, place in self._places:
            weight.copy_(place)
        self._places = []
