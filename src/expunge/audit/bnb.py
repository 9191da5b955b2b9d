"""Weights as bitsandbytes rounds them: NF4 (arXiv 2305.14314) and LLM.int8() (arXiv 2208.07339).

As transformers' `BitsAndBytesConfig` would load them: all linear layers; embeddings and the output layer stay.
Experts that share a tensor, which it leaves as they are, go to NF4 too.
"""

from __future__ import annotations

from typing import Any

import torch

from expunge.audit.copies import copied, rounded_copy
from expunge.four_bits import BLOCK, bitsandbytes
from expunge.model import LanguageModel
from expunge.rounding import by_output, linear_layers

DEVICES = {"int8": ("cuda",), "nf4": ("cuda", "cpu")}
"""Where each is worth its time: on the CPU, LLM.int8() takes as long as all other roundings together."""
OUTLIER = 6.0
"""Columns of inputs with a value beyond it are multiplied without rounding."""


def nf4(lm: LanguageModel) -> LanguageModel:
    """A copy whose weights went to NF4 and back: 16 levels, and a scale, not itself rounded, for each 64 weights.

    That is what a 4-bit layer multiplies by; its own kernels round on the way, and do not take every shape.

    Raises:
        InputError: there is no such weight.
    """
    functional = bitsandbytes().functional

    def change(weight: torch.Tensor) -> torch.Tensor:
        flat = weight.reshape(-1)
        blocks = torch.nn.functional.pad(flat, (0, -len(flat) % BLOCK)).reshape(-1, BLOCK)
        # A block a row: on the CPU, rows that are no whole blocks come back with the scales of others.
        codes, scales = functional.quantize_4bit(blocks, blocksize=BLOCK, quant_type="nf4")
        found: torch.Tensor = functional.dequantize_4bit(codes, scales)
        return found.reshape(-1)[: len(flat)].reshape(weight.shape)

    return rounded_copy(lm, change)


def int8(lm: LanguageModel) -> LanguageModel:
    """A copy with bitsandbytes' own layers, since they round their inputs too, but for columns with outliers."""
    changed = copied(lm)
    made: dict[int, torch.nn.Module] = {}
    for name, layer in linear_layers(changed.model).items():
        if id(layer) not in made:
            made[id(layer)] = _int8(layer)
        changed.model.set_submodule(name, made[id(layer)])
    return changed


def _int8(layer: Any) -> torch.nn.Module:
    nn, weight = bitsandbytes().nn, by_output(layer).detach()
    outputs, inputs = weight.shape
    bias = layer.bias is not None
    made = nn.Linear8bitLt(inputs, outputs, bias=bias, has_fp16_weights=False, threshold=OUTLIER, device="meta")
    made.weight = nn.Int8Params(weight.cpu(), requires_grad=False, has_fp16_weights=False)
    made.bias = layer.bias
    found: torch.nn.Module = made.to(weight.device)  # the weight is rounded on its way from the CPU
    return found.eval()
