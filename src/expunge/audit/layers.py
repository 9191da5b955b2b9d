"""The layers of a causal model: where they are, what their states are, and what the model makes of other states."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any
from weakref import WeakSet

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


class _EnoughError(Exception):
    """What was wanted of a forward is there."""


def states(model: Any, batch: Batch, places: Sequence[int]) -> list[torch.Tensor]:
    """The hidden states after the layers `places`, before the final norm: float [rows, columns, width] each.

    What follows the last of them is not computed.

    Raises:
        InputError: they are several streams each, which are joined after the last layer.
    """
    layers, found = layers_of(model), dict[int, torch.Tensor]()

    def keep(place: int, module: Any, inputs: Any, output: Any) -> None:
        found[place] = output[0] if isinstance(output, tuple) else output
        if place == max(places):
            raise _EnoughError

    hooks = [layers[place].register_forward_hook(partial(keep, place)) for place in places]
    with _removed(hooks), contextlib.suppress(_EnoughError):
        batch.logits(model)
    if any(state.dim() != 3 for state in found.values()):
        message = f"the hidden states of this model ({type(model).__name__}) are several streams, which are not read"
        raise InputError(message, remedy="Leave out the probe 'depth'.")
    return [found[place] for place in places]


_bare: WeakSet[torch.nn.Module] = WeakSet()
"""Layers known to be handed states, and to hand on states and nothing else."""


def finish(model: Any, batch: Batch, after: int, state: torch.Tensor) -> torch.Tensor:
    """`Batch.logits` of a `model` whose layer `after` hands on `state`, float [rows, columns, width].

    Of its own work up to there nothing is left, and nothing is done (the first layer's once, to see what it hands on).
    After the last layer, only the final norm and the output layer follow.

    Raises:
        InputError: the state is of another width than the model's, or later layers look at keys of earlier ones.
    """
    first, *others = layers_of(model)[: after + 1]
    given: Any = None

    def fitting(own: torch.Tensor) -> torch.Tensor:
        if own.shape != state.shape:
            remedy = "Give models of one shape, or leave the probe 'depth' out."
            message = f"hidden states of width {state.shape[-1]} do not fit a model of width {own.shape[-1]}"
            raise InputError(message, remedy=remedy)
        return state.to(own)

    def replace(module: Any, inputs: Any, options: Any, output: Any) -> Any:
        nonlocal given
        if isinstance(output, tuple):
            given = (fitting(output[0]), *output[1:])
        else:
            given = fitting(output)
            if inputs or "hidden_states" in options:
                _bare.add(module)
        return given

    try:
        if first in _bare:
            with _instead([first, *others], lambda *args, **more: fitting(args[0] if args else more["hidden_states"])):
                return batch.logits(model)
        hook = first.register_forward_hook(replace, with_kwargs=True)
        with _removed([hook]), _instead(others, lambda *args, **options: given):
            return batch.logits(model)
    except KeyError:  # those of Gemma 3n and of small Gemma 4, by the kind of layer
        message = f"later layers of this model ({type(model).__name__}) look at the keys of earlier ones"
        raise InputError(message, remedy="Leave out the probe 'depth'.") from None


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
