"""The output layer by itself, so that logits of many tokens need not be held at once."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import torch
from transformers.modeling_outputs import BaseModelOutputWithPast

from expunge.errors import InputError
from expunge.packing import unwrapped


class _Outputs(BaseModelOutputWithPast):  # type: ignore[misc]
    """Of a kind that architectures expect of their layers; what it does not have is None."""

    def __getattr__(self, _: str) -> None:
        return None


class _Given(torch.nn.Module):
    """In place of all layers: what they would have given is given."""

    def __init__(self, layers: torch.nn.Module) -> None:
        super().__init__()
        plain = {k: v for k, v in vars(layers).items() if not k.startswith("_") and k != "forward"}
        self.__dict__.update(plain)  # some architectures keep there what logits are multiplied with

    @property
    def decoder(self) -> _Given:
        """Some call only this part of their layers."""
        return self

    def forward(self, *_: Any, inputs_embeds: torch.Tensor, **__: Any) -> _Outputs:
        return _Outputs(last_hidden_state=inputs_embeds)


def _layers_of(whole: Any) -> str:
    """Which part of the model holds its layers: that with the input embeddings (`base_model_prefix` is not for all)."""
    embeddings = whole.get_input_embeddings()
    for name, module in whole._modules.items():
        if any(part is embeddings for part in module.modules()):
            return str(name)
    raise InputError(f"{type(whole).__name__} does not keep its layers apart from its output layer")


def _bare(module: Any) -> Any:
    """With the same weights and without hooks: where weights are shared out, those put them together and apart again,
    which is to happen once in a forward, and not for every piece of it."""
    bare = object.__new__(type(module))  # not `copy`, which classes of such modules do not stand
    no_hooks: dict[str, Any] = {"_forward_hooks": OrderedDict(), "_forward_pre_hooks": OrderedDict()}
    bare.__dict__.update(module.__dict__ | no_hooks)
    return bare


class OutputLayer:
    """From what a model's output layer reads to its logits, with all that the architecture does to them.

    trained: whether weights of it are.

    Raises:
        InputError: an architecture in which its layers cannot be told from it.
    """

    def __init__(self, model: Any) -> None:
        whole = unwrapped(model)
        whole = whole.get_base_model() if hasattr(whole, "get_base_model") else whole
        self._model = _bare(whole)
        self._model.__dict__.pop("forward", None)  # a cover that accelerate puts on; it calls the whole model
        others = {name: _bare(module) for name, module in whole._modules.items()}
        layers = _layers_of(whole)
        self._model.__dict__["_modules"] = {**others, layers: _Given(whole._modules[layers])}
        weights = list(self._model.parameters())
        self.trained = any(weight.requires_grad for weight in weights)
        self._dtype = weights[0].dtype

    def __call__(self, last: torch.Tensor) -> torch.Tensor:
        """Logits, float [tokens, vocabulary], of float [tokens, width]."""
        logits: torch.Tensor = self._model(inputs_embeds=last.to(self._dtype)[None], use_cache=False).logits[0]
        return logits

    def frozen(self) -> OutputLayer:
        """As it is now: a copy, if it is trained."""
        if not self.trained:
            return self
        kept = copy.copy(self)
        kept._model, kept.trained = copy.deepcopy(self._model).requires_grad_(False), False
        return kept
