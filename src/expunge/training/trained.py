"""Which weights are trained; and the proof that no others were."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from transformers.pytorch_utils import Conv1D

from expunge.errors import InputError, MissingExtraError
from expunge.model import LanguageModel, second_adapter
from expunge.sharding import let_go, own_part
from expunge.text_part import text_modules
from expunge.training.config import UnlearnConfig


def made_trainable(lm: LanguageModel, config: UnlearnConfig) -> LanguageModel:
    """The model with those weights trainable that `config.modules` names, or with an adapter on their layers.

    Raises:
        InputError: it names none, or the model was an adapter already. MissingExtraError: LoRA without PEFT installed.
    """
    if config.lora_rank and lm.adapted:
        raise second_adapter(lm.name)
    if config.lora_rank:
        return _with_adapter(lm, config)
    fixed = {id(p) for module in _embeddings(lm.model) for p in module.parameters()}
    text = {id(p) for _, module in text_modules(lm.model) for p in module.parameters(recurse=False)}
    for name, parameter in lm.model.named_parameters():
        if config.modules == "matrices":
            wanted = parameter.ndim >= 2 and id(parameter) not in fixed
        else:
            wanted = config.modules == "all" or bool(re.search(config.modules, name))
        parameter.requires_grad_(wanted and id(parameter) in text)
    if not any(parameter.requires_grad for parameter in lm.model.parameters()):
        names = ", ".join(name for name, _ in list(lm.model.named_parameters())[:3])
        raise _nothing_named(config, f"Names of parameters are such as {names}.")
    return lm


def still(model: Any) -> None:
    """No dropout and no jitter of routers while training: what is kept is measured against the original, which has
    none, and what differs by chance would count as damage (TRL's DPO leaves dropout out as well).
    """
    for module in model.modules():
        for name, value in vars(module).items():
            chance = re.search("drop|jitter", name) or (
                name == "p" and isinstance(module, torch.nn.modules.dropout._DropoutNd)
            )
            if chance and isinstance(value, float):
                setattr(module, name, 0.0)


def spare_activations(model: Any) -> None:
    """Have the backward pass compute each layer anew (activation checkpointing, arXiv 1604.06174).

    Raises:
        InputError: the architecture cannot.
    """
    if not model.supports_gradient_checkpointing:
        raise InputError("checkpointing = true: this architecture has none", remedy="Leave it out.")
    if hasattr(model, "activation_checkpointing_enable"):
        model.activation_checkpointing_enable({"use_reentrant": False})
    else:  # as transformers called it before
        model.gradient_checkpointing_enable({"use_reentrant": False})


def fixed_digests(model: Any) -> dict[str, str]:
    """Digests of the parameters that are not trained, by name: the same before a training and after it.

    Those in 4 bits are taken with their scales; of those that are shared out, this process's part.
    """
    let_go(model)
    return {name: _digest(p) for name, p in model.named_parameters() if not p.requires_grad}


def _with_adapter(lm: LanguageModel, config: UnlearnConfig) -> LanguageModel:
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise MissingExtraError("peft", "lora", "training a LoRA adapter") from None
    layers = [name for name, module in lm.model.named_modules() if isinstance(module, torch.nn.Linear | Conv1D)]
    able = _adaptable(lm.model)
    targets: str | list[str] = "all-linear"
    if config.modules != "matrices":
        targets = [name for name in layers if name in able and re.search(config.modules, name)]
        if not targets:
            raise _nothing_named(config, f"Names of linear layers are such as {', '.join(layers[:3])}.")
    lora = LoraConfig(
        r=config.lora_rank,
        lora_alpha=2 * config.lora_rank,
        target_modules=targets,
        exclude_modules=[name for name in layers if name not in able] or None,
        use_dora=config.dora,
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings():  # PEFT asks transformers by a name that it is giving up
        warnings.simplefilter("ignore", FutureWarning)
        return dataclasses.replace(lm, model=get_peft_model(lm.model, lora))


def _adaptable(model: Any) -> set[str]:
    """Names of the text's modules that an adapter reaches: not linear layers of an architecture's own making that give
    something else, as routers do, nor those whose weight Mamba's kernels read without calling them."""
    text = dict(text_modules(model))
    passed = {f"{name}.out_proj" for name, m in text.items() if hasattr(m, "A_log") and hasattr(m, "D")}
    return {name for name, m in text.items() if not isinstance(m, torch.nn.Linear) or _plain(m)} - passed


@torch.no_grad()
def _plain(layer: torch.nn.Linear) -> bool:
    if ".modeling_" not in type(layer).__module__:
        return True
    try:
        found = layer(layer.weight.new_zeros(1, 1, layer.in_features))
    except (RuntimeError, TypeError, ValueError, IndexError):
        return False
    return torch.is_tensor(found) and found.shape == (1, 1, layer.out_features)


def _embeddings(model: Any) -> Iterator[torch.nn.Module]:
    """Of tokens and of positions, and the output layer."""
    yield from (module for module in model.modules() if isinstance(module, torch.nn.Embedding))
    yield from (m for m in (model.get_input_embeddings(), model.get_output_embeddings()) if m is not None)


def _nothing_named(config: UnlearnConfig, remedy: str) -> InputError:
    return InputError(f"modules = {config.modules!r} names none of this model's weights", remedy=remedy)


def _digest(parameter: torch.Tensor) -> str:
    packed = getattr(parameter, "quant_state", None)
    found = hashlib.blake2b(digest_size=16)
    for part in (own_part(parameter), *(packed.as_dict(packed=True).values() if packed else ())):
        found.update(part.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
