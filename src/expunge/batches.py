"""Encoded rows through a model: padded batches of like length, or rows side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from expunge.encoding import Encoded
from expunge.packing import Packing, pack, packable, unwrapped


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows padded on the left, so that all responses end in the last column and logits are needed in few columns.

    input_ids, attention_mask, position_ids: int64 [rows, columns].
    targets, response: [rows, width]; the last `width` columns hold every response token of every row.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    position_ids: torch.Tensor
    targets: torch.Tensor
    response: torch.Tensor

    @classmethod
    def of(cls, rows: Sequence[Encoded], device: torch.device | str = "cpu") -> Batch:
        columns = max(map(len, rows))
        width = max(len(r.response) for r in rows)
        ids = torch.zeros(len(rows), columns, dtype=torch.long)
        mask = torch.zeros_like(ids)
        response = torch.zeros(len(rows), width, dtype=torch.bool)
        for i, row in enumerate(rows):
            ids[i, columns - len(row) :] = torch.tensor(row.prompt + row.response)
            mask[i, columns - len(row) :] = 1
            response[i, width - len(row.response) :] = True
        positions = (mask.cumsum(1) - 1).clamp_min(0)
        parts = (ids, mask, positions, ids[:, columns - width :].clone(), response)
        return cls(*(part.to(device) for part in parts))

    def __len__(self) -> int:
        return len(self.input_ids)

    def logits(self, model: Any) -> torch.Tensor:
        """What `model` predicts for every response position: float [rows, width, vocabulary]."""
        width = self.targets.shape[1]
        out = model(
            input_ids=self.input_ids,
            attention_mask=self.attention_mask,
            position_ids=self.position_ids,
            logits_to_keep=width + 1,
            use_cache=False,
        )
        logits: torch.Tensor = out.logits[:, -width - 1 : -1]
        return logits


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


def alike(lengths: Sequence[int], *, waste: float = 0.15, tokens: int = 2**62) -> Iterator[list[int]]:
    """Indices in groups, longest first, such that padding is at most `waste` of each group's tokens.

    tokens: the most that a group may hold with padding (one row it holds in any case).
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    group: list[int] = []
    for i in order:
        padded = lengths[group[0] if group else i] * (len(group) + 1)
        if group and (padded > tokens or padded - sum(lengths[k] for k in (*group, i)) > waste * padded):
            yield group
            group = []
        group.append(i)
    if group:
        yield group
