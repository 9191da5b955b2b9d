"""Gradient surgery: forgetting must not undo what is kept."""

from __future__ import annotations

from typing import Any

import torch

from expunge.training.processes import total


class Surgery:
    """Takes out of the forgetting gradient what opposes the normal one.

    With g of the terms that forget and n of those that keep, each over a whole step: where ⟨g, n⟩ < 0,
    g ← g − ⟨g, n⟩ / ‖n‖² · n (PCGrad, arXiv 2001.06782, on one side: n stays as it is); the step follows g + n.
    """

    def __init__(self) -> None:
        self._forgotten: list[torch.Tensor] = []

    def add(self, model: Any, loss: torch.Tensor) -> None:
        """Note the gradient of what forgets, in one part of a step; the graph is kept for what comes after."""
        found = torch.autograd.grad(loss, _trained(model), retain_graph=True, materialize_grads=True)
        if self._forgotten:
            torch._foreach_add_(self._forgotten, list(found))
        else:
            self._forgotten = list(found)

    def operate(self, model: Any) -> None:
        """After the last part, when `grad` holds n: make it g + n."""
        weights, forgotten = _trained(model), [total(grad) for grad in self._forgotten]
        kept = [torch.zeros_like(p) if p.grad is None else p.grad for p in weights]
        against = _product(forgotten, kept)
        share = against / _product(kept, kept).clamp_min(torch.finfo(torch.float32).tiny)
        for weight, g, n in zip(weights, forgotten, kept, strict=True):
            weight.grad = n + g - share.clamp_max(0.0).to(n) * n
        self._forgotten = []


def _product(a: list[torch.Tensor], b: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack([(x.float() * y.float()).sum() for x, y in zip(a, b, strict=True)]).sum()


def _trained(model: Any) -> list[torch.Tensor]:
    return [p for p in model.parameters() if p.requires_grad]
