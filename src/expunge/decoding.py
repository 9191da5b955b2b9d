"""Decoding that lets a row go once its answer has ended; transformers' own keeps all rows to the last one's end."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any

import torch


def dropping(
    model: Any,
    input_ids: torch.Tensor,
    logits_processor: Any,
    stopping_criteria: Any,
    generation_config: Any,
    **options: Any,
) -> torch.Tensor:
    """For `model.generate(custom_generate=dropping)`: prompts and answers, int64 [rows, columns], padded on the right.

    Greedy or drawn, as the configuration says; the draws are those of transformers' loop with the same random state.
    Models whose cache cannot give up rows decode as usual.
    """
    if not _selectable(options, len(input_ids)):
        rows: torch.Tensor = model._sample(
            input_ids, logits_processor=logits_processor, stopping_criteria=stopping_criteria,
            generation_config=generation_config, **options,
        )  # fmt: skip
        return rows
    said = input_ids.new_full((len(input_ids), generation_config.max_length), generation_config.pad_token_id)
    said[:, : input_ids.shape[1]] = input_ids
    alive = torch.arange(len(input_ids), device=input_ids.device)
    logits, options = _begun(model, input_ids, options, generation_config.num_return_sequences or 1)
    while True:  # the criteria stop all rows at the longest answer
        column = input_ids.shape[1]
        scores = logits_processor(input_ids, logits.float())
        tokens = _drawn(scores, alive, len(said)) if generation_config.do_sample else scores.argmax(-1)
        said[alive, column] = tokens
        input_ids = torch.cat([input_ids, tokens[:, None]], 1)
        going = ~stopping_criteria(input_ids, None)
        if not going.any():
            return said[:, : column + 1]
        if not going.all():
            options["cache"].batch_select_indices(going.nonzero().squeeze(1))
            options = _each(options, itemgetter(going))
            input_ids, alive = input_ids[going], alive[going]
        inputs = model.prepare_inputs_for_generation(input_ids, next_sequence_length=1, **options)
        out = model(**inputs, return_dict=True)
        logits, options = out.logits[:, -1], model._update_model_kwargs_for_generation(out, options)


def _begun(
    model: Any, input_ids: torch.Tensor, options: dict[str, Any], samples: int
) -> tuple[torch.Tensor, dict[str, Any]]:
    """The logits after each prompt [rows, vocabulary], and what the next step is handed: once for all its samples."""
    once = _each(options, itemgetter(slice(None, None, samples)))
    inputs = model.prepare_inputs_for_generation(input_ids[::samples], is_first_iteration=True, **once)
    out = model(**inputs, return_dict=True)
    options = model._update_model_kwargs_for_generation(out, once)
    if samples > 1:
        options["cache"].batch_repeat_interleave(samples)
        options = _each(options, lambda value: value.repeat_interleave(samples, 0))
    return out.logits[:, -1].repeat_interleave(samples, 0), options


def _each(options: dict[str, Any], change: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, Any]:
    return {name: change(value) if torch.is_tensor(value) else value for name, value in options.items()}


def alone() -> bool:
    """Whether this process may stop when its own rows have ended: where several share a model, all must keep step."""
    spread = torch.distributed
    return not (spread.is_available() and spread.is_initialized() and spread.get_world_size() > 1)


def _drawn(scores: torch.Tensor, alive: torch.Tensor, rows: int) -> torch.Tensor:
    """A token for each row alive. All draw, the ended rows in vain, so that no draw depends on which have ended."""
    p = scores.new_ones(rows, scores.shape[1])
    p[alive] = scores.softmax(-1)
    return torch.multinomial(p, 1).squeeze(1)[alive]


def _selectable(options: dict[str, Any], rows: int) -> bool:
    """Whether all that a step hands to the next can be had for some of the rows alone."""
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    layers = getattr(options.get("cache"), "layers", None)
    tensors = [value for value in options.values() if torch.is_tensor(value)]
    whole = all(value.dim() > 1 and value.shape[0] == rows for value in tensors)
    return bool(layers) and whole and all(type(x) in (DynamicLayer, DynamicSlidingWindowLayer) for x in layers or ())
