"""A key-value cache for answers under way: rows leave it, rows join it, and a token is written, not a cache anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

Options = dict[str, Any]
"""What a step of `generate` is handed: attention_mask and position_ids [rows, columns], the cache, and settings."""


class RoomyLayer(DynamicLayer):  # type: ignore[misc]
    """With room for tokens to come, where transformers' own copies all that it holds at every token.

    keys, values: [rows, heads, columns, size], views of what is held.
    """

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, room: int) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self.hold(keys, values, room)

    def hold(self, keys: torch.Tensor, values: torch.Tensor, room: int) -> None:
        self._held = [x.new_empty((*x.shape[:2], x.shape[2] + room, x.shape[3])) for x in (keys, values)]
        self._write(0, (keys, values))

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **options: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self._write(self.keys.shape[2], (key_states, value_states))
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """A row that stays where it is, is not copied."""
        if len(indices) > len(self.keys):
            room = self._held[0].shape[2] - self.keys.shape[2]
            self.hold(self.keys[indices], self.values[indices], room)
            return
        places = torch.arange(len(indices), device=indices.device)
        to = places[indices != places]
        for shown in (self.keys, self.values):
            shown[to] = shown[indices[to]]
        self._held = [held[: len(indices)] for held in self._held]
        self._show(self.keys.shape[2])

    def _write(self, start: int, new: tuple[torch.Tensor, torch.Tensor]) -> None:
        end = start + new[0].shape[2]
        for held, states in zip(self._held, new, strict=True):
            held[:, :, start:end] = states
        self._show(end)

    def _show(self, end: int) -> None:
        self.keys, self.values = (held[:, :, :end] for held in self._held)


_MOVABLE = (DynamicLayer, RoomyLayer)


def each(options: Options, change: Callable[[torch.Tensor], torch.Tensor]) -> Options:
    """With every tensor changed."""
    return {name: change(value) if torch.is_tensor(value) else value for name, value in options.items()}


def selectable(options: Options, rows: int) -> bool:
    """Whether all that a step hands to the next can be had for some of the rows alone."""
    layers = getattr(options.get("cache"), "layers", None) or ()
    tensors = [value for value in options.values() if torch.is_tensor(value)]
    whole = all(value.dim() > 1 and value.shape[0] == rows for value in tensors)
    return bool(layers) and whole and all(type(x) in (*_MOVABLE, DynamicSlidingWindowLayer) for x in layers)


def movable(options: Options) -> bool:
    """Whether padding may stand anywhere: not where a layer's window counts it."""
    tensors = {name for name, value in options.items() if torch.is_tensor(value)}
    return tensors == {"attention_mask", "position_ids"} and all(type(x) in _MOVABLE for x in options["cache"].layers)


def select(options: Options, rows: torch.Tensor) -> Options:
    """What the next step is handed for these rows, in this order; one may be there twice."""
    options["cache"].batch_select_indices(rows)
    return each(options, lambda tensor: tensor[rows])


def joined(parts: Sequence[Options], room: int) -> Options:
    """What the next step is handed for all rows, of what it is handed for some of them each.

    room: tokens to come. Parts that are movable may have different numbers of columns.
    """
    found, moves, columns = parts[0], movable(parts[0]), 0
    if moves:
        parts = [_trimmed(part) for part in parts]
        columns = max(part["attention_mask"].shape[1] for part in parts)
    known = max(0, columns - 1)  # the last token is still to be read
    for i, layers in enumerate(zip(*(part["cache"].layers for part in parts), strict=True)):
        keys, values = (_joined([getattr(x, name) for x in layers], known, -2) for name in ("keys", "values"))
        for layer in layers:
            layer.keys = layer.values = None  # what is joined is not held twice
        if moves:
            found["cache"].layers[i] = RoomyLayer(keys, values, room)
        else:
            layers[0].keys, layers[0].values = keys, values
    names = [name for name, value in found.items() if torch.is_tensor(value)]
    return found | {name: _joined([part[name] for part in parts], columns, -1) for name in names}


def _trimmed(part: Options) -> Options:
    """Without the first columns that no row has."""
    start = int(part["attention_mask"].any(0).long().argmax())
    for layer in part["cache"].layers:
        layer.keys, layer.values = layer.keys[:, :, start:], layer.values[:, :, start:]
    return each(part, lambda tensor: tensor[:, start:])


def _joined(parts: Sequence[torch.Tensor], columns: int, dim: int) -> torch.Tensor:
    """Rows of all parts, each with zeros before its columns where it has fewer."""
    shape = [*parts[0].shape]
    shape[0], shape[dim] = sum(map(len, parts)), max(columns, shape[dim])
    found, start = parts[0].new_zeros(shape), 0
    for part in parts:
        found[start : start + len(part)].narrow(dim, shape[dim] - part.shape[dim], part.shape[dim])[:] = part
        start += len(part)
    return found
