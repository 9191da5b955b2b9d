"""Linear layers held in 4 bits: NF4 with its scales rounded again (QLoRA, arXiv 2305.14314), by bitsandbytes.

The output layer, embeddings and all else stay as they are.
"""

from __future__ import annotations

import importlib.metadata
import logging
from typing import Any

import torch
from packaging.version import Version

from expunge.errors import InputError, MissingExtraError

LEAST = (0, 50)
"""The oldest version of bitsandbytes that is used; old ones do not run on the CPU."""
BLOCK = 64
"""Weights that share a scale in NF4."""


def installed() -> bool:
    """Whether there is a bitsandbytes that is new enough; it is not imported."""
    try:
        return Version(importlib.metadata.version("bitsandbytes")).release >= LEAST
    except importlib.metadata.PackageNotFoundError:
        return False


def bitsandbytes() -> Any:
    """The package, imported without its advice."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it warns of faster kernels that could be fetched
    import bitsandbytes

    return bitsandbytes


def loading(bits: int, place: torch.device) -> dict[str, Any]:
    """What `from_pretrained` takes to round each layer as it is read: the whole model is never in memory.

    All else is in the precision in which layers compute, since bitsandbytes would change biases to it at their first
    use: float32 on the CPU, else bfloat16.

    Raises:
        InputError: other bits than 4. MissingExtraError: there is no bitsandbytes that is new enough.
    """
    if bits != 4:
        raise InputError(f"bits = {bits}: a model can be loaded in 4 bits, or as it is (0)")
    if not installed():
        raise MissingExtraError(f"bitsandbytes>={'.'.join(map(str, LEAST))}", "quantization", "a model in 4 bits")
    bitsandbytes()
    from transformers import BitsAndBytesConfig

    dtype = torch.float32 if place.type == "cpu" else torch.bfloat16
    packed = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    return {"dtype": dtype, "quantization_config": packed, "device_map": {"": place}}


def held(model: Any) -> bool:
    """Whether the model's linear layers are in 4 bits."""
    return bool(getattr(model, "is_loaded_in_4bit", False))


def prepare(model: Any, place: torch.device) -> None:
    """Make a model that was loaded so compute the same in training and in evaluation.

    Raises:
        InputError: a layer that bitsandbytes multiplies wrongly on a CPU.
    """
    packed = bitsandbytes().nn.Linear4bit
    for name, layer in model.named_modules():
        if not isinstance(layer, packed):
            continue
        if place.type == "cpu" and layer.in_features % BLOCK:
            message = f"the layer {name} has {layer.in_features} inputs; on a CPU, 4 bits take multiples of {BLOCK}"
            raise InputError(message, remedy="Train it with base_bits = 0, or on a GPU.")
        # Else, where a CPU has bfloat16, evaluation repacks the weights: no gradient goes through them any more.
        layer.support_avx512bf16_for_cpu = False
