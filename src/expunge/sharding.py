"""Weights shared out among the processes of a launcher: each holds a part of every matrix (FSDP2, arXiv 2304.11277).

A layer's weights are put together while it computes. All processes must therefore run as many forwards as each other.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from expunge.errors import InputError


def loading() -> dict[str, Any]:
    """What `from_pretrained` takes for each process to read its own part and no more.

    Raises:
        InputError: there is one process only.
    """
    from transformers.distributed import DistributedConfig

    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count < 2:
        remedy = "Start several with `accelerate launch --num_processes N -m expunge …`, or leave `sharded` out."
        raise InputError("sharded: there is one process, and nothing to share out", remedy=remedy)
    return {"dtype": "auto", "distributed_config": DistributedConfig(fsdp_size=count)}


def prepare(model: Any, place: torch.device) -> None:
    """Float32 on the CPU; gradients are added up over the processes, each of which has its share of a step's loss.

    Raises:
        InputError: the layers are not shared out one by one; the whole model would be put together.
    """
    if len(list(_shards(model))) <= model.config.get_text_config().num_hidden_layers:
        remedy = "Leave `sharded` out: each process then holds the whole model."
        raise InputError("sharded: transformers does not share out the layers of this architecture", remedy=remedy)
    if place.type == "cpu":
        model.float()._apply(torch.clone)  # parts as they were read are windows on the whole
    for module in _shards(model):
        module.set_gradient_divide_factor(1.0)
        module.set_force_sum_reduction_for_comms(True)  # gloo cannot scale while it adds


def sharded(model: Any) -> bool:
    """Whether the weights are shared out."""
    return any(hasattr(parameter, "to_local") for parameter in model.parameters())


def let_go(model: Any) -> None:
    """Of the other processes' parts, some of which are held after a forward."""
    for module in _shards(model):
        module.reshard()


def own_part(tensor: torch.Tensor) -> torch.Tensor:
    """What this process holds of a tensor: all of it, where it is not shared out."""
    part: torch.Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return part


def keep_weights(model: Any, folder: Path) -> None:
    """Every process writes its part of the weights that are trained; all must do so together."""
    from torch.distributed.checkpoint.state_dict_saver import save

    save(_weights(model), checkpoint_id=folder)


def restore_weights(model: Any, folder: Path) -> None:
    """Take over what `keep_weights` wrote."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
    from torch.distributed.checkpoint.state_dict_loader import load

    let_go(model)
    found = _weights(model)
    load(found, checkpoint_id=folder)
    set_model_state_dict(model, found, options=StateDictOptions(strict=False))  # of the others nothing is written


def keep_optimizer(model: Any, optimizer: torch.optim.Optimizer, folder: Path) -> None:
    """As `keep_weights`."""
    from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict
    from torch.distributed.checkpoint.state_dict_saver import save

    save(get_optimizer_state_dict(model, optimizer), checkpoint_id=folder)


def restore_optimizer(model: Any, optimizer: torch.optim.Optimizer, folder: Path) -> None:
    """As `restore_weights`."""
    from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict
    from torch.distributed.checkpoint.state_dict_loader import load

    found = get_optimizer_state_dict(model, optimizer)
    load(found, checkpoint_id=folder)
    set_optimizer_state_dict(model, optimizer, found)


def gathered(model: Any) -> dict[str, Any]:
    """All weights, tied ones once, in the first process's memory; all must ask. It can then save by itself."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    whole = StateDictOptions(full_state_dict=True, cpu_offload=True)
    found = get_model_state_dict(model, options=whole)
    model.config.distributed_config = None
    return {name: weight for name, weight in found.items() if name not in model.all_tied_weights_keys}


def _weights(model: Any) -> dict[str, Any]:
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    return dict(get_model_state_dict(model, options=StateDictOptions(ignore_frozen_params=True)))


def _shards(model: Any) -> Iterator[Any]:
    from torch.distributed.fsdp import FSDPModule

    return (module for module in model.modules() if isinstance(module, FSDPModule))
