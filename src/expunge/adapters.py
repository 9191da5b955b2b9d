"""Adapters of PEFT, put into the weights that they change: all else sees a model."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch


def merged(model: Any) -> Any:
    """The model without adapters, in place: what they add is in its weights, as an owner would merge them. A wrapper of
    PEFT's is taken off.

    A weight that several layers share is taken apart first, since an adapter changes what one of them says.
    """
    from peft import PeftModel
    from peft.tuners.tuners_utils import BaseTunerLayer

    model = model.get_base_model() if isinstance(model, PeftModel) else model
    layers = {name: module for name, module in model.named_modules() if isinstance(module, BaseTunerLayer)}
    _take_apart(model, [layer.get_base_layer() for layer in layers.values()])
    # of experts held in one tensor several are adapted by layers in each other, which the outermost one takes off
    layers = {n: m for n, m in layers.items() if not any(n.startswith(f"{other}.") for other in layers)}
    for name, layer in layers.items():
        _put(model, name, _without(layer))
    for name, module in list(model.named_modules()):
        if hasattr(module, "unload_and_optionally_merge_module"):  # a layer that was trained whole beside it
            _put(model, name, _without(module))
    del model.peft_config
    model._hf_peft_config_loaded = False
    vars(model).pop("_weight_conversions", None)  # names as the adapter's file has them; saved so, none would be found
    return model


def _without(layer: Any) -> torch.nn.Module:
    if hasattr(layer, "unload_and_optionally_merge_module"):
        found: torch.nn.Module = layer.unload_and_optionally_merge_module(
            merge=True, safe_merge=False, adapter_names=None
        )
        return found
    layer.merge()
    base: torch.nn.Module = layer.get_base_layer()
    return base


def _put(model: Any, name: str, module: torch.nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, module)


def _take_apart(model: Any, layers: list[Any]) -> None:
    shared = Counter(id(p) for _, p in model.named_parameters(remove_duplicate=False))
    for layer in layers:
        for name, weight in list(layer.named_parameters(recurse=False)):
            if shared[id(weight)] > 1:
                setattr(layer, name, torch.nn.Parameter(weight.detach().clone(), requires_grad=weight.requires_grad))
                model.config.get_text_config().tie_word_embeddings = model.config.tie_word_embeddings = False
