"""Decoding that lets a row go once its answer has ended; transformers' own keeps all rows to the last one's end."""

from __future__ import annotations

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
    start, end = input_ids.shape[1], generation_config.max_length
    said = input_ids.new_full((len(input_ids), end), generation_config.pad_token_id)
    said[:, :start] = input_ids
    alive = torch.arange(len(input_ids), device=input_ids.device)
    for column in range(start, end):
        first = column == start
        inputs = model.prepare_inputs_for_generation(
            input_ids, next_sequence_length=None if first else 1, is_first_iteration=first, **options
        )
        out = model(**inputs, return_dict=True)
        options = model._update_model_kwargs_for_generation(out, options)
        scores = logits_processor(input_ids, out.logits[:, -1].float())
        tokens = _drawn(scores, alive, len(said)) if generation_config.do_sample else scores.argmax(-1)
        said[alive, column] = tokens
        input_ids = torch.cat([input_ids, tokens[:, None]], 1)
        going = ~stopping_criteria(input_ids, None)
        if not going.any():
            return said[:, : column + 1]
        if not going.all():
            options["cache"].batch_select_indices(going.nonzero().squeeze(1))
            options |= {name: value[going] for name, value in options.items() if torch.is_tensor(value)}
            input_ids, alive = input_ids[going], alive[going]
    return said


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
