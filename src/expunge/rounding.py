"""Round-to-nearest quantization of weights, in pure torch."""

from __future__ import annotations

from typing import Any

import torch

GROUPS: dict[int, int | None] = {8: None, 4: 32}
"""Bits, and the weights of a row that share a scale (None: the whole row)."""


def round_weight(weight: torch.Tensor, bits: int, group: int | None = None) -> torch.Tensor:
    """Round to nearest, symmetric: scale · round(w / scale), where scale = max |w| / (2^(bits−1) − 1) of each group.

    weight: float [rows, columns]; the groups are `group` columns of a row (the last may be shorter), or the whole row.
    Returns the rounded weights in the same dtype: |w − q| ≤ scale / 2 (but for rounding to that dtype).
    """
    rows, columns = weight.shape
    size = min(group or columns, columns)
    padding = -columns % size
    parts = torch.nn.functional.pad(weight.float(), (0, padding)).reshape(rows, -1, size)
    most = 2 ** (bits - 1) - 1
    scale = (parts.abs().amax(-1, keepdim=True) / most).clamp_min(torch.finfo(torch.float32).tiny)
    found: torch.Tensor = (parts / scale).round().clamp(-most, most) * scale
    return found.reshape(rows, columns + padding)[:, :columns].to(weight.dtype)


def linear_weights(model: Any) -> list[torch.Tensor]:
    """The weights that a quantizer rounds, [outputs, inputs], no weight twice: of `linear_layers` and experts."""
    layers = {id(layer.weight): by_output(layer) for layer in linear_layers(model).values()}
    return [*layers.values(), *_experts(model)]


def _experts(model: Any) -> list[torch.Tensor]:
    """The matrices [outputs, inputs] of experts that transformers holds together, [experts, …], in no linear layer."""
    found: dict[int, torch.Tensor] = {}
    for module in model.modules():
        if "Experts" not in type(module).__name__:
            continue
        by_input = getattr(module, "is_transposed", hasattr(module, "gate_up_proj"))  # Llama 4 does not say so
        for name, weight in module.named_parameters(recurse=False):
            if weight.dim() == 3 and weight.is_floating_point() and name.endswith(("proj", "weight")):  # and no scale
                found[id(weight)] = weight.mT if by_input else weight
    return [weight[i] for weight in found.values() for i in range(len(weight))]


def by_output(layer: Any) -> torch.Tensor:
    """A linear layer's weight as [outputs, inputs]; GPT-2's Conv1D holds it the other way round."""
    weight: torch.Tensor = layer.weight
    return weight if isinstance(layer, torch.nn.Linear) else weight.T


def linear_layers(model: Any) -> dict[str, torch.nn.Module]:
    """All linear layers by name, but none packed already, and none with an embedding's or the output layer's weight."""
    from transformers.pytorch_utils import Conv1D

    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    kept = {id(end.weight) for end in ends if end is not None}
    packed = {id(p) for p in model.parameters() if not p.is_floating_point()}
    return {
        name: module
        for name, module in model.named_modules(remove_duplicate=False)
        if isinstance(module, torch.nn.Linear | Conv1D) and id(module.weight) not in kept | packed
    }
