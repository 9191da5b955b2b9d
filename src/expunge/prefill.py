"""Prompts read before decoding: a common beginning once, and on a CPU a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from itertools import takewhile
from operator import itemgetter
from typing import Any

import torch

from expunge.host import CPU_TOKENS
from expunge.kv_cache import Options, each, movable

SHARED, SAVED = 16, 512
"""Tokens of a common beginning, and tokens not read again for it, that are worth a forward of its own."""


def prefill(model: Any, input_ids: torch.Tensor, options: Options) -> Iterator[tuple[torch.Tensor, Options]]:
    """The logits after each prompt [rows, vocabulary], and what the next step is handed, for some rows at a time.

    input_ids: int64 [rows, columns], padded on the left. Prompts that begin alike are found where they are neighbours.
    """
    count, columns = input_ids.shape
    pieces = _pieces(_prompts(input_ids, options)) if movable(options) else [(range(count), 0)]
    size = CPU_TOKENS if input_ids.device.type == "cpu" else input_ids.numel()
    for rows, shared in pieces:
        step = max(1, size // (columns - shared))
        for start in range(rows.start, rows.stop, step):
            part = slice(start, min(start + step, rows.stop))
            own = each(options, itemgetter(part)) | {"cache": deepcopy(options["cache"])}
            yield read(model, input_ids[part], own, shared)


def _prompts(input_ids: torch.Tensor, options: Options) -> list[list[int]]:
    lengths = options["attention_mask"].sum(1).tolist()
    return [row[len(row) - n :] for row, n in zip(input_ids.tolist(), lengths, strict=True)]


def _pieces(prompts: Sequence[list[int]]) -> Iterator[tuple[range, int]]:
    """Rows to read together, and how many tokens their beginning has in common (0: not worth it)."""
    done = start = 0
    while start < len(prompts):
        end, shared = _alike(prompts, start)
        if shared * (end - start - 1) < SAVED:
            start += 1
            continue
        if done < start:
            yield range(done, start), 0
        yield range(start, end), shared
        done = start = end
    if done < start:
        yield range(done, start), 0


def _alike(prompts: Sequence[list[int]], start: int) -> tuple[int, int]:
    """How far the prompts go on to begin as the one at `start` does, and with how many tokens.

    Each keeps a token of its own. One that would halve the beginning of those before it is left to others.
    """
    first = prompts[start]
    shared, end = len(first) - 1, start + 1
    while end < len(prompts):
        pairs = zip(first[:shared], prompts[end][:-1], strict=False)
        common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        if common < SHARED or (end > start + 1 and 2 * common < shared):
            break
        shared, end = common, end + 1
    return end, shared


def read(model: Any, input_ids: torch.Tensor, options: Options, shared: int = 0) -> tuple[torch.Tensor, Options]:
    """The logits after each prompt, and what the next step is handed; the first `shared` tokens are read once."""
    if shared:
        input_ids, options = _moved(input_ids, options, shared)
        first = each(options, lambda tensor: tensor[:1, :shared])
        model(**model.prepare_inputs_for_generation(input_ids[:1, :shared], is_first_iteration=True, **first))
        for layer in options["cache"].layers:
            layer.keys, layer.values = (x.expand(len(input_ids), -1, -1, -1) for x in (layer.keys, layer.values))
        rest = {"next_sequence_length": input_ids.shape[1] - shared}
    else:
        rest = {"is_first_iteration": True}
    out = model(**model.prepare_inputs_for_generation(input_ids, **rest, **options), return_dict=True)
    return out.logits[:, -1], model._update_model_kwargs_for_generation(out, options)


def _moved(input_ids: torch.Tensor, options: Options, shared: int) -> tuple[torch.Tensor, Options]:
    """With each row's first `shared` tokens in the first columns, and its padding after them."""
    mask = options["attention_mask"]
    columns = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
    padding = mask.shape[1] - mask.sum(1, keepdim=True)
    places = torch.where(columns < shared, columns + padding, columns)
    places = torch.where((columns >= shared) & (columns < shared + padding), columns - shared, places)
    mask = mask.gather(1, places)
    positions = (mask.cumsum(1) - 1).clamp_min(0)
    return input_ids.gather(1, places), options | {"attention_mask": mask, "position_ids": positions}
