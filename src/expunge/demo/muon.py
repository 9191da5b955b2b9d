"""Muon in float32, with same-shaped matrices orthogonalised together: quick on a CPU, where bfloat16 is slow."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def orthogonal(gradients: Tensor, rounds: int = 5) -> Tensor:
    """The nearest orthogonal matrix to each of a stack, roughly, by a quintic Newton-Schulz iteration."""
    a, b, c = 3.4445, -4.7750, 2.0315
    flip = gradients.size(-2) > gradients.size(-1)
    x = gradients.mT if flip else gradients
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(rounds):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    result: Tensor = x.mT if flip else x
    return result


class Muon:
    """Momentum whose step is made orthogonal; for weight matrices only."""

    def __init__(self, parameters: list[nn.Parameter], rate: float, momentum: float = 0.95) -> None:
        self.rate, self.momentum = rate, momentum
        groups: dict[tuple[int, ...], list[nn.Parameter]] = {}
        for parameter in parameters:
            groups.setdefault(tuple(parameter.shape), []).append(parameter)
        self.groups = list(groups.values())
        self.buffers = [torch.zeros(len(group), *group[0].shape) for group in self.groups]

    @torch.no_grad()
    def step(self, scale: float) -> None:
        for group, buffer in zip(self.groups, self.buffers, strict=True):
            gradients = torch.stack([p.grad for p in group if p.grad is not None])
            buffer.lerp_(gradients, 1 - self.momentum)
            update = orthogonal(gradients.lerp(buffer, self.momentum))
            rate = self.rate * scale * max(1.0, update.size(-2) / update.size(-1)) ** 0.5
            for parameter, change in zip(group, update, strict=True):
                parameter.mul_(1 - 0.01 * self.rate * scale).sub_(change, alpha=rate)
