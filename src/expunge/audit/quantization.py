"""The probe `quantization`: does rounding the weights bring back what was forgotten (arXiv 2410.16454)?

The change of weights that unlearning makes may be smaller than a step of the rounded ones, so that both models, before
and after, round to the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from expunge.audit import intervals
from expunge.audit.bnb import DEVICES, int8, nf4
from expunge.audit.copies import rounded_copy
from expunge.audit.probes import Case
from expunge.audit.reading import Sets, read
from expunge.audit.result import Estimate, Measure
from expunge.four_bits import installed
from expunge.generation import mean_probability
from expunge.judges.reproduction import ReproductionJudge
from expunge.model import LanguageModel
from expunge.rounding import GROUPS, round_weight


def quantization(case: Case) -> list[Measure]:
    """The forgotten prompts put to the rounded models: flagged shares, and the probability of what was at fault.

    Raises:
        InputError: a model without linear layers of floating-point weights.
    """
    sets = replace(case.sets, ability=(), neighbours=(), lookalikes=())
    measures = []

    def said(model: str) -> list[str]:
        return case.readings[model].answers[: len(sets.faulty)] if model in case.readings else []

    for way in roundings(case.after):
        found = {name: _read(way.change(lm), sets, case, said(name)) for name, lm in case.models.items()}
        rounding = f"Rounded to {way.title}"
        for kind, places in sets.phrasings:
            asked = f"forgotten prompts, {kind} phrasing, whose greedy answer, from weights of {way.title},"
            key, title = f"{way.key}_{kind}", f"{rounding}, {kind} phrasing"
            flagged = {name: _share(r.flagged, places) for name, r in found.items()}
            leaks = {name: _share(r.leaks, places) for name, r in found.items()}
            meaning = f"Share of {asked} is flagged."
            measures.append(Measure(key, title, meaning, "robustness", "share", "lower", **flagged))
            key, title = f"{key}_leak", f"{title}: the old answer"
            meaning = f"Share of {asked} says again what was flagged."
            measures.append(Measure(key, title, meaning, "robustness", "share", "lower", **leaks))
        meaning = f"Mean probability of the tokens at fault under teacher forcing, from weights of {way.title}."
        key, title = f"{way.key}_fault_probability", f"{rounding}, probability of what was at fault"
        old = {name: intervals.mean(list(map(mean_probability, r.at_fault))) for name, r in found.items()}
        measures.append(Measure(key, title, meaning, "robustness", "probability", "lower", **old))
    return measures


@dataclass(frozen=True, slots=True)
class Rounding:
    """A rounding: the beginning of its keys, its name after "weights of", and what makes a rounded copy of a model."""

    key: str
    title: str
    change: Callable[[LanguageModel], LanguageModel]


def roundings(lm: LanguageModel) -> list[Rounding]:
    """Plain rounding, and where bitsandbytes is installed and runs on the model's device, what it makes of weights."""
    found = [Rounding(f"quantized{bits}", f"{bits} bits", partial(rounded, bits=bits)) for bits in GROUPS]
    packed = [Rounding("quantized_int8", "8 bits (LLM.int8)", int8), Rounding("quantized_nf4", "4 bits (NF4)", nf4)]
    here = [way for way in packed if lm.device.type in DEVICES[way.key.removeprefix("quantized_")]]
    return [*found, *here] if installed() else found


@dataclass(frozen=True, slots=True)
class Read:
    """What a rounded model says: of each forgotten prompt whether its greedy answer is flagged, or the old one."""

    flagged: list[bool]
    leaks: list[bool]
    at_fault: list[torch.Tensor]


def _read(lm: LanguageModel, sets: Sets, case: Case, guesses: Sequence[str]) -> Read:
    """guesses: what the model said before it was rounded."""
    found = read(lm, sets, case.judges, samples=0, seed=case.seed, advance=case.advance, guesses=guesses)
    judge = ReproductionJudge(sets.faulty)
    answered = [item.dialogue.answered(text) for item, text in zip(sets.faulty, found.answers, strict=True)]
    return Read(found.flagged, [verdict.flagged for verdict in judge.judge(answered)], found.at_fault)


def _share(hits: Sequence[bool], places: range) -> Estimate:
    return intervals.share(sum(hits[i] for i in places), len(places))


def rounded(lm: LanguageModel, bits: int) -> LanguageModel:
    """A copy with the weights of its linear layers rounded to `bits`; embeddings and the output layer stay as they are.

    Raises:
        InputError: there is no such weight.
    """
    return rounded_copy(lm, partial(round_weight, bits=bits, group=GROUPS[bits]))
