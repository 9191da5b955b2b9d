"""Rows side by side in few sequences, so that hardly anything is padding; and batches of like length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch


@dataclass(frozen=True, slots=True)
class Packing:
    """bins: the rows of each sequence, in order. columns: the length of a sequence."""

    bins: tuple[tuple[int, ...], ...]
    columns: int

    @property
    def order(self) -> list[int]:
        """The rows as they come, sequence after sequence."""
        return [row for packed in self.bins for row in packed]

    def lay(self, values: Sequence[Sequence[int]]) -> torch.Tensor:
        """One value for each token of each row, put where the token lies; int64 [sequences, columns], 0 elsewhere."""
        found = torch.zeros(len(self.bins), self.columns, dtype=torch.int64)
        for k, packed in enumerate(self.bins):
            joined = [value for row in packed for value in values[row]]
            found[k, : len(joined)] = torch.tensor(joined)
        return found

    def read(
        self,
        model: Any,
        tokens: Sequence[Sequence[int]],
        spans: Sequence[range],
        device: torch.device | str,
        layers: Sequence[int] = (),
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """What the output layer is to read at the places of each row in `spans`, and the hidden states after `layers`.

        Float [places, width] and [tokens, layers, width], rows in `order`.
        """
        lengths = [len(ids) for ids in tokens]
        counted = [[i in span for i in range(n)] for span, n in zip(spans, lengths, strict=True)]
        caught: list[torch.Tensor] = []

        def catch(_: Any, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
            caught.append(given[0])
            return (given[0][:0],)

        hook = unwrapped(model).get_output_embeddings().register_forward_pre_hook(catch)
        out = model(
            input_ids=self.lay(tokens).to(device),
            position_ids=self.lay([range(n) for n in lengths]).to(device),  # where they begin anew, attention does too
            logits_to_keep=self.lay(counted).bool().to(device),
            output_hidden_states=bool(layers),
            use_cache=False,
        )
        hook.remove()
        last = caught[0]
        if last.dim() > 2:  # one that knows no `logits_to_keep`
            last = last[self.lay(counted).bool().to(device)]
        if not layers:
            return last, None
        filled = self.lay([[True] * n for n in lengths]).bool().to(device)
        return last, torch.stack([active(out.hidden_states[layer])[filled] for layer in layers], 1)


def active(state: torch.Tensor) -> torch.Tensor:
    """[sequences, columns, width]; of several such streams (AltUp, arXiv 2301.13310) the one that layers work on."""
    return state[0] if state.dim() > 3 else state


def pack(lengths: Sequence[int], width: int) -> Packing:
    """Rows of these lengths in sequences of the length that costs least, up to twice the longest row.

    In longer ones less is padded, but attention goes over all of a sequence: what the mask excludes, a CPU computes all
    the same. To 24 · `width`² operations in the matrices of a layer, it adds 4 · `width` · columns for each token.
    """
    longest = max(lengths)
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    found = [_fill(order, lengths, limit) for limit in range(longest, 2 * longest + 1, max(1, longest // 16))]
    return min(found, key=lambda p: len(p.bins) * p.columns * (6 * width + p.columns))


def _fill(order: Sequence[int], lengths: Sequence[int], limit: int) -> Packing:
    """First-fit decreasing: each row into the first sequence that has room for it."""
    bins: list[list[int]] = []
    room: list[int] = []
    for row in order:
        place = next((k for k, free in enumerate(room) if free >= lengths[row]), len(bins))
        if place == len(bins):
            bins.append([])
            room.append(limit)
        bins[place].append(row)
        room[place] -= lengths[row]
    return Packing(tuple(map(tuple, bins)), limit - min(room))


def unwrapped(model: Any) -> Any:
    """The model itself, where several processes train it under a cover."""
    return getattr(model, "module", model)


_packable: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


def packable(model: Any) -> bool:
    """Whether `model` keeps the rows of a sequence apart where their positions begin anew; tried once for a model.

    Some architectures read no positions, and convolutions and states go on: another row before it changes what a row
    gives. Where it changes nothing, not a bit differs.
    """
    model = unwrapped(model)
    if model not in _packable:
        size = model.config.get_text_config().vocab_size
        positions = torch.tensor([[0, 1, 2, 0, 1]], device=model.device)
        training = model.training
        model.eval()  # noise and dropout would differ
        with torch.no_grad():
            first, second = (
                model(input_ids=ids.to(model.device), position_ids=positions, use_cache=False).logits[:, 3:]
                for ids in torch.tensor([[[0, 1, 2, 3, 4]], [[size - 1, size // 2, size // 3, 3, 4]]]) % size
            )
        model.train(training)
        _packable[model] = torch.equal(first, second)
    return _packable[model]


def by_length(lengths: Sequence[int], *, tokens: int) -> Iterator[list[int]]:
    """Indices in batches of like length, longest first, each of at most `tokens` with padding (at least one row)."""
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    while order:
        size = max(1, tokens // max(1, lengths[order[0]]))
        yield order[:size]
        order = order[size:]
