"""Decoding that works on what is not known yet: no row whose answer has ended, nor twice the samples that are alike so
far; transformers' own keeps all rows to the last one's end."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

import torch

from expunge.prefill import each, prefill


def dropping(
    model: Any,
    input_ids: torch.Tensor,
    logits_processor: Any,
    stopping_criteria: Any,
    generation_config: Any,
    **options: Any,
) -> torch.Tensor:
    """For `model.generate(custom_generate=dropping)`: prompts and answers, int64 [rows, columns], padded on the right.

    Greedy or drawn, as the configuration says. Models whose cache cannot give up rows decode as usual.
    """
    if not _selectable(options, len(input_ids)):
        rows: torch.Tensor = model._sample(
            input_ids, logits_processor=logits_processor, stopping_criteria=stopping_criteria,
            generation_config=generation_config, **options,
        )  # fmt: skip
        return rows
    samples = generation_config.num_return_sequences or 1
    said = input_ids.new_full((len(input_ids), generation_config.max_length), generation_config.pad_token_id)
    said[:, : input_ids.shape[1]] = input_ids
    alive = torch.arange(len(input_ids), device=input_ids.device)
    own, input_ids = alive // samples, input_ids[::samples]  # samples that have said the same so far are one row
    logits, options = prefill(model, input_ids, each(options, itemgetter(slice(None, None, samples))))
    while True:  # the criteria stop all rows at the longest answer
        column, words = input_ids.shape[1], logits.shape[1]
        scores = logits_processor(input_ids, logits.float())
        tokens = _drawn(scores, own, alive, len(said)) if generation_config.do_sample else scores.argmax(-1)[own]
        said[alive, column] = tokens
        pairs, own = torch.unique(own * words + tokens, return_inverse=True)
        parents = pairs // words
        input_ids = torch.cat([input_ids[parents], (pairs % words)[:, None]], 1)
        going = ~stopping_criteria(input_ids, None)
        if not going.any():
            return said[:, : column + 1]
        on = going[own]
        alive, own = alive[on], (going.cumsum(0) - 1)[own[on]]
        input_ids, parents = input_ids[going], parents[going]
        if len(parents) != len(scores) or len(parents.unique()) != len(scores):
            options["cache"].batch_select_indices(parents)
            options = each(options, itemgetter(parents))
        inputs = model.prepare_inputs_for_generation(input_ids, next_sequence_length=1, **options)
        out = model(**inputs, return_dict=True)
        logits, options = out.logits[:, -1], model._update_model_kwargs_for_generation(out, options)


def alone() -> bool:
    """Whether this process may stop when its own rows have ended: where several share a model, all must keep step."""
    spread = torch.distributed
    return not (spread.is_available() and spread.is_initialized() and spread.get_world_size() > 1)


def _drawn(scores: torch.Tensor, own: torch.Tensor, alive: torch.Tensor, rows: int) -> torch.Tensor:
    """A token for each row alive, where a uniform number falls in the cumulated probabilities.

    All draw a number, the ended rows in vain, so that no draw depends on which have ended. (`torch.multinomial` draws
    one for every word.)
    """
    exact = torch.float32 if scores.device.type == "mps" else torch.float64
    reach = scores.softmax(-1, dtype=exact).cumsum(-1)[own]
    drawn = torch.rand(rows, 1, dtype=exact, device=scores.device)[alive] * reach[:, -1:]
    return torch.searchsorted(reach, drawn, right=True).squeeze(1).clamp_max(reach.shape[1] - 1)


def _selectable(options: dict[str, Any], rows: int) -> bool:
    """Whether all that a step hands to the next can be had for some of the rows alone."""
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    layers = getattr(options.get("cache"), "layers", None)
    tensors = [value for value in options.values() if torch.is_tensor(value)]
    whole = all(value.dim() > 1 and value.shape[0] == rows for value in tensors)
    return bool(layers) and whole and all(type(x) in (DynamicLayer, DynamicSlidingWindowLayer) for x in layers or ())
