"""Encoded rows through a model: padded batches of like length, or rows side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from expunge.encoding import Encoded
from expunge.packing import Packing, pack, packable, unwrapped

WASTE = 0.15
"""Share of padding that a group of rows may have at most."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows padded on the right: no token of a causal model looks there, so that attention needs no mask and is faster.

    Only tokens of responses go through the output layer.

    input_ids: int64 [rows, columns]. filled: bool [rows, columns], where there is a token and no padding.
    asked: bool [rows, columns], where the token that follows is one of the response.
    targets: int64 [tokens], those of all responses, row after row; sizes: how many each row has.
    """

    input_ids: torch.Tensor
    filled: torch.Tensor
    asked: torch.Tensor
    targets: torch.Tensor
    sizes: list[int]

    @classmethod
    def of(cls, rows: Sequence[Encoded], device: torch.device | str = "cpu") -> Batch:
        columns = max(map(len, rows))
        ids = torch.zeros(len(rows), columns, dtype=torch.long)
        filled, asked = (torch.zeros(len(rows), columns, dtype=torch.bool) for _ in range(2))
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row.prompt + row.response)
            filled[i, : len(row)] = True
            asked[i, len(row.prompt) - 1 : len(row) - 1] = True
        targets = torch.tensor([token for row in rows for token in row.response])
        ids, filled, asked, targets = (x.to(device) for x in (ids, filled, asked, targets))
        return cls(ids, filled, asked, targets, [len(row.response) for row in rows])

    def __len__(self) -> int:
        return len(self.input_ids)

    def logits(self, model: Any) -> torch.Tensor:
        """What `model` predicts for every response token: float [tokens, vocabulary], row after row."""
        logits: torch.Tensor = model(input_ids=self.input_ids, logits_to_keep=self.asked, use_cache=False).logits
        return logits if logits.dim() == 2 else logits[self.asked]  # some architectures know no `logits_to_keep`

    def split(self, values: torch.Tensor) -> Sequence[torch.Tensor]:
        """Each row's part of what there is one of for every response token."""
        return torch.split(values, self.sizes)


@dataclass(frozen=True, slots=True)
class Output:
    """What a model makes of one row.

    last: float [response, width], what the output layer is to read for each response token (see `OutputLayer`).
    hidden: float [prompt and response, layers, width], or None if not asked for.
    """

    last: torch.Tensor
    hidden: torch.Tensor | None


def forward_rows(
    model: Any, rows: Sequence[Encoded], device: torch.device | str, layers: Sequence[int] = ()
) -> list[Output]:
    """What `model` makes of each row.

    Rows lie side by side in few sequences, so that hardly anything is padded; a model that would not keep them apart
    gets rows of like length, one in a sequence. No token goes through the output layer yet.
    """
    tokens = [row.prompt + row.response for row in rows]
    if not layers:
        tokens = [ids[:-1] for ids in tokens]  # nothing follows a row's last token, and its state is not asked for
    lengths = [len(ids) for ids in tokens]
    if packable(model):
        packings = [pack(lengths, unwrapped(model).config.get_text_config().hidden_size)] if rows else []
    else:
        packings = [Packing(tuple((i,) for i in group), lengths[group[0]]) for group in alike(lengths)]
    spans = [range(len(row.prompt) - 1, len(row) - 1) for row in rows]
    found: dict[int, Output] = {}
    for packing in packings:
        last, states = packing.read(model, tokens, spans, device, layers)
        # one split: a slice per row would fill a gradient as large as the whole for each of them
        said = torch.split(last, [len(rows[i].response) for i in packing.order])
        inner: Sequence[torch.Tensor | None] = [None] * len(said)
        if states is not None:
            inner = torch.split(states, [lengths[i] for i in packing.order])
        found.update(zip(packing.order, map(Output, said, inner), strict=True))
    return [found[i] for i in range(len(rows))]


def alike(lengths: Sequence[int], *, tokens: int = 2**62) -> Iterator[list[int]]:
    """Indices in groups, longest first, such that padding is at most `WASTE` of each group's tokens.

    tokens: the most that a group may hold with padding (one row it holds in any case).
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    group: list[int] = []
    for i in order:
        padded = lengths[group[0] if group else i] * (len(group) + 1)
        if group and (padded > tokens or padded - sum(lengths[k] for k in (*group, i)) > WASTE * padded):
            yield group
            group = []
        group.append(i)
    if group:
        yield group
