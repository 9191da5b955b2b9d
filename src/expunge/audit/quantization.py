"""The probe `quantization`: does rounding the weights bring back what was forgotten (arXiv 2410.16454)?

The change of weights that unlearning makes may be smaller than a step of the rounded ones, so that both models, before
and after, round to the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from expunge.audit import intervals
from expunge.audit.copies import copied
from expunge.audit.probes import Case
from expunge.audit.reading import Reading, encode_old, read
from expunge.audit.result import Estimate, Measure
from expunge.errors import InputError
from expunge.generation import mean_probability
from expunge.model import LanguageModel

GROUPS: dict[int, int | None] = {8: None, 4: 32}
"""Bits, and the weights of a row that share a scale (None: the whole row)."""


def quantization(case: Case) -> list[Measure]:
    """The forgotten prompts put to the rounded models: flagged shares, and the probability of what was at fault.

    Raises:
        InputError: a model without linear layers of floating-point weights.
    """
    sets = replace(case.sets, ability=(), neighbours=())
    models = (case.after, case.before, case.oracle)
    faults = [row.fault for row in encode_old(case.after, sets)]
    trained = len(sets.trained)
    kinds = [("trained", range(trained)), ("unseen", range(trained, len(sets.faulty)))]
    measures = []
    for bits in GROUPS:
        found = [read(rounded(lm, bits), sets, case.judges, samples=0, seed=case.seed) if lm else None for lm in models]
        for kind, places in kinds:
            if places:
                after, before, oracle = (_flagged(r, places) for r in found)
                assert after is not None
                title = f"Rounded to {bits} bits, {kind} phrasing"
                meaning = (
                    f"Share of forgotten prompts whose greedy answer is flagged, all weights rounded to {bits} bits."
                )
                key = f"quantized{bits}_{kind}"
                measures.append(Measure(key, title, meaning, "robustness", "share", "lower", after, before, oracle))
        after, before, oracle = (_at_fault(r, faults) for r in found)
        assert after is not None
        title = f"Rounded to {bits} bits, probability of what was at fault"
        meaning = "Mean probability of the tokens at fault under teacher forcing, from the rounded weights."
        key = f"quantized{bits}_fault_probability"
        measures.append(Measure(key, title, meaning, "robustness", "probability", "lower", after, before, oracle))
    return measures


def _flagged(reading: Reading | None, places: range) -> Estimate | None:
    return intervals.share(sum(reading.flagged[i] for i in places), len(places)) if reading else None


def _at_fault(reading: Reading | None, faults: list[tuple[bool, ...]]) -> Estimate | None:
    if reading is None:
        return None
    return intervals.mean([mean_probability(p, f) for p, f in zip(reading.old, faults, strict=True)])


def rounded(lm: LanguageModel, bits: int) -> LanguageModel:
    """A copy with the weights of its linear layers rounded to `bits`; embeddings and the output layer stay as they are.

    Raises:
        InputError: there is no such weight.
    """
    changed = copied(lm)
    weights = dict(_weights(changed.model))
    if not weights:
        raise InputError("this model has no linear layers of floating-point weights to round")
    with torch.no_grad():
        for weight, transposed in weights.values():
            by_row = weight.T if transposed else weight
            by_row.copy_(round_weight(by_row, bits, GROUPS[bits]))
    return changed


def round_weight(weight: torch.Tensor, bits: int, group: int | None = None) -> torch.Tensor:
    """Round to nearest, symmetric: scale · round(w / scale), where scale = max |w| / (2^(bits−1) − 1) of each group.

    weight: float [rows, columns]; the groups are `group` columns of a row (the last may be shorter), or the whole row.
    Returns the rounded weights in the same dtype: |w − q| ≤ scale / 2 (but for rounding to that dtype).
    """
    rows, columns = weight.shape
    size = min(group or columns, columns)
    padding = -columns % size
    parts = torch.nn.functional.pad(weight.float(), (0, padding)).reshape(rows, -1, size)
    most = 2 ** (bits - 1) - 1
    scale = (parts.abs().amax(-1, keepdim=True) / most).clamp_min(torch.finfo(torch.float32).tiny)
    found: torch.Tensor = (parts / scale).round().clamp(-most, most) * scale
    return found.reshape(rows, columns + padding)[:, :columns].to(weight.dtype)


def _weights(model: Any) -> Iterator[tuple[int, tuple[torch.Tensor, bool]]]:
    """(identity, (weight, whether its columns are the outputs)): no weight twice, none that is an embedding's too."""
    from transformers.pytorch_utils import Conv1D

    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    kept = {id(end.weight) for end in ends if end is not None}
    packed = {id(p) for p in model.parameters() if not p.is_floating_point()}  # rounded already
    for module in model.modules():
        if isinstance(module, torch.nn.Linear | Conv1D) and id(module.weight) not in kept | packed:
            yield id(module.weight), (module.weight, isinstance(module, Conv1D))
