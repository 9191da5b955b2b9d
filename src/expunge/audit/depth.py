"""The probe `depth`: can what was at fault still be read from hidden states, though the model does not say it?

Three ways to read, at every token at fault under teacher forcing: the model's own final norm and output layer put on
the state after each layer (the logit lens, nostalgebraist 2020); the states of all positions after a layer handed to
the original model, which finishes (patching, as in Ghandeharioun et al. 2024, arXiv 2401.06102); and a linear probe
fitted on ordinary dialogues, which maps a layer's states to the original's last ones (see `translation`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from expunge.audit import intervals
from expunge.audit.layers import finish, layers_of, states
from expunge.audit.probes import Case
from expunge.audit.reading import encode_old, readable
from expunge.audit.result import Estimate, Measure
from expunge.audit.translation import Lesson, lessons, translated, translators
from expunge.batches import Batch, alike
from expunge.encoding import Encoded
from expunge.errors import InputError
from expunge.generation import batch_tokens
from expunge.model import LanguageModel

DEPTHS = 12
"""The most layers that are read, evenly spaced, the last among them."""

LESSONS = 256
"""Ordinary dialogues that a linear probe is fitted on, evenly taken; where more are given, at most twice as many."""

Way = Literal["lens", "patched", "probed"]
_WAYS: dict[Way, tuple[str, str]] = {
    "lens": ("logit lens", "its own final norm and output layer read from the hidden state after a layer"),
    "patched": ("patched", "the original model says, given this model's hidden states after a layer, to finish"),
    "probed": (
        "linear probe",
        "a linear probe, fitted on ordinary dialogues, reads from the state after a layer",
    ),
}


@dataclass(frozen=True, slots=True)
class Found:
    """What is read from one model's states, by way; each array is [layers, rows].

    right: share of a row's tokens at fault that are read as the likeliest. probability: of these, geometric mean.
    """

    right: dict[Way, np.ndarray]
    probability: dict[Way, np.ndarray]


def depth(case: Case) -> list[Measure]:
    """For each way, the most that a layer tells above the oracle (without one, above what the model itself says).

    Raises:
        InputError: the models are not of one shape, or their layers are not found.
    """
    rows = encode_old(case.after, case.sets.trained)
    if not rows:
        raise InputError("the probe 'depth' needs dialogues to be forgotten", remedy="Give them with --forget FILE.")
    places = chosen(_one_depth(case))
    ordinary = readable(case.before, case.sets.ordinary)
    given = lessons(case.before, ordinary[:: max(1, len(ordinary) // LESSONS)])
    found = {name: _read(lm, case.before, rows, places, given) for name, lm in case.models.items()}
    return [measure for way in found["after"].right for measure in _measures(way, places, found)]


def chosen(count: int) -> list[int]:
    """Which of so many layers are read, from 0: all, or `DEPTHS` evenly spaced ones that end with the last."""
    picked = min(count, DEPTHS)
    return [round((i + 1) * count / picked) - 1 for i in range(picked)]


def _one_depth(case: Case) -> int:
    counts = {len(layers_of(lm.model)) for lm in case.models.values()}
    if len(counts) > 1:
        remedy = "Give models of one shape, or leave the probe 'depth' out."
        raise InputError(f"the models have {' and '.join(map(str, sorted(counts)))} layers", remedy=remedy)
    return counts.pop()


def _read(
    lm: LanguageModel, original: LanguageModel, rows: Sequence[Encoded], places: Sequence[int], given: Sequence[Lesson]
) -> Found:
    last = len(layers_of(lm.model)) - 1
    probes = translators(lm, given, places) if given else []
    ways = [way for way in _WAYS if way != "probed" or probes]
    right, probability = ({way: np.zeros((len(places), len(rows))) for way in ways} for _ in range(2))
    with torch.inference_mode():
        for indices in alike([len(row) for row in rows], tokens=batch_tokens(lm)):
            part = [rows[i] for i in indices]
            batch = Batch.of(part, lm.device)
            own = states(lm.model.eval(), batch, places)
            for k, (place, state) in enumerate(zip(places, own, strict=True)):
                readers: dict[Way, tuple[Any, int, torch.Tensor]] = {
                    "lens": (lm.model, last, state),
                    "patched": (original.model, place, state),
                }
                if probes:
                    readers["probed"] = (original.model, last, translated(state, probes[k]))
                for way, (model, after, handed) in readers.items():
                    logits = finish(model.eval(), batch, after, handed)
                    for i, (share, p) in zip(indices, _told(logits, batch, part), strict=True):
                        right[way][k, i], probability[way][k, i] = share, p
    return Found(right, probability)


def _told(logits: torch.Tensor, batch: Batch, rows: Sequence[Encoded]) -> Iterator[tuple[float, float]]:
    """Of each row's tokens at fault: the share that is the likeliest, and the geometric mean of the probabilities."""
    for row, said, targets in zip(rows, batch.split(logits), batch.split(batch.targets), strict=True):
        fault = torch.tensor(row.fault, device=said.device)
        at, tokens = said[fault].float(), targets[fault]
        log_p = at.log_softmax(-1).gather(-1, tokens.unsqueeze(-1))
        yield float((at.argmax(-1) == tokens).double().mean()), float(log_p.double().mean().exp())


def _measures(way: Way, places: Sequence[int], found: dict[str, Found]) -> list[Measure]:
    title, meaning = _WAYS[way]
    excess = {name: _excess(way, found, name) for name in found}
    over = "the oracle's states tell in this way" if "oracle" in found else "the model says"
    text = f"Share of the tokens at fault that {meaning}, less what {over}; of the layer that tells the most."
    whole = Measure(
        f"depth_{way}", f"Read from hidden states, {title}", text, "robustness", "share", "lower",
        excess["after"], excess["before"],
    )  # fmt: skip
    text = f"Probability of the tokens at fault where {meaning}; after this layer."
    parts = [
        Measure(
            f"depth_{way}_layer{place + 1}", f"Hidden states after layer {place + 1}, {title}", text, "robustness",
            "probability", "lower", **{n: intervals.mean(f.probability[way][i].tolist()) for n, f in found.items()},
        )
        for i, place in enumerate(places)
    ]  # fmt: skip
    if way == "probed" and "oracle" not in found:  # it is not known what the probe adds by itself
        return parts
    return [whole, *parts]


def _excess(way: Way, found: dict[str, Found], name: str) -> Estimate:
    """The largest mean difference of a layer's rows; the bounds are the largest of any layer's bounds.

    Without an oracle it is not known what the original's later layers add by themselves, so they have no part in it.
    """
    right = found[name].right[way]
    if "oracle" in found:
        over = right - found["oracle"].right[way]
    else:
        over = (right if way == "lens" else right[-1:]) - found[name].right["lens"][-1:]
    each = [intervals.difference(row.tolist()) for row in over]
    value, low, high = (max(getattr(e, end) for e in each) for end in ("value", "low", "high"))
    return Estimate(value, low, high, right.shape[1])
