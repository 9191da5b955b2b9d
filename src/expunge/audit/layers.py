"""The layers of a causal model: where they are, what their states are, and what the model makes of other states."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from expunge.batches import Batch
from expunge.errors import InputError


def layers_of(model: Any) -> Sequence[torch.nn.Module]:
    """The decoder's layers, first to last; an adapter's are those of its base model.

    Raises:
        InputError: the model holds no list of as many modules as its configuration has layers.
    """
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    decoder = inner.get_decoder() if hasattr(inner, "get_decoder") else inner
    count = getattr(inner.config.get_text_config(), "num_hidden_layers", None)
    for module in decoder.modules():  # the outermost first: a layer's experts may be as many
        if isinstance(module, torch.nn.ModuleList) and len(module) == count:
            return list(module)
    remedy = "Give a causal model of transformers, or leave out the probes that look inside: depth, membership."
    raise InputError(f"cannot find the layers of this model ({type(inner).__name__})", remedy=remedy)


def states(model: Any, batch: Batch) -> list[torch.Tensor]:
    """The hidden state after each layer, before the final norm: float [rows, columns, width] each."""
    found: list[torch.Tensor] = []

    def keep(module: Any, inputs: Any, output: Any) -> None:
        found.append(_state(output))

    hooks = [layer.register_forward_hook(keep) for layer in layers_of(model)]
    with _removed(hooks):
        batch.logits(model)
    return found


def finish(model: Any, batch: Batch, after: int, state: torch.Tensor) -> torch.Tensor:
    """`Batch.logits` of a `model` whose layer `after` hands on `state`, float [rows, columns, width].

    Of its own work up to there nothing is left. After the last layer, only the final norm and the output layer follow.

    Raises:
        InputError: the state is of another width than the model's.
    """
    first, *others = layers_of(model)[: after + 1]
    given: Any = None

    def replace(module: Any, inputs: Any, output: Any) -> Any:
        nonlocal given
        own = _state(output)
        if own.shape != state.shape:
            remedy = "Give models of one shape, or leave the probe 'depth' out."
            message = f"hidden states of width {state.shape[-1]} do not fit a model of width {own.shape[-1]}"
            raise InputError(message, remedy=remedy)
        given = (state.to(own), *output[1:]) if isinstance(output, tuple) else state.to(own)
        return given

    with _removed([first.register_forward_hook(replace)]), _instead(others, lambda *args, **options: given):
        return batch.logits(model)


def _state(output: Any) -> torch.Tensor:
    state: torch.Tensor = output[0] if isinstance(output, tuple) else output
    return state


@contextlib.contextmanager
def _removed(hooks: Sequence[Any]) -> Iterator[None]:
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextlib.contextmanager
def _instead(layers: Sequence[torch.nn.Module], forward: Callable[..., Any]) -> Iterator[None]:
    """Layers that do nothing but return the same: their work would be thrown away."""
    own = [layer.__dict__.get("forward") for layer in layers]
    for layer in layers:
        layer.__dict__["forward"] = forward
    try:
        yield
    finally:
        for layer, before in zip(layers, own, strict=True):
            if before is None:
                del layer.__dict__["forward"]
            else:
                layer.__dict__["forward"] = before
