"""How far models are apart on ordinary dialogues: perplexity, and next-token distributions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from expunge.audit import intervals
from expunge.audit.likelihood import mean_log_p
from expunge.audit.reading import readable
from expunge.audit.result import Estimate, Measure
from expunge.audit.scores import Scores
from expunge.batches import Batch, alike
from expunge.dialogue import Dialogue
from expunge.encoding import Encoded
from expunge.generation import batch_tokens
from expunge.model import LanguageModel

ROWS = 256
"""Dialogues that distributions are compared on; where more are given, at most twice as many."""

Distance = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Of two tables of log-probabilities [..., vocabulary], at each place: [...]."""


def kl(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """KL(ours ‖ theirs) = Σ p (log p − log q), in nats."""
    p = ours.exp()
    return (p * (ours - theirs)).where(p > 0, 0).sum(-1).clamp_min(0)  # below zero by rounding alone


def total_variation(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """½ Σ |p − q|."""
    return (ours.exp() - theirs.exp()).abs().sum(-1) / 2


_ASKED: Mapping[str, tuple[Distance, str, str]] = {
    "changed": (kl, "before", "after"),
    "changed_oracle": (kl, "before", "oracle"),
    "far": (total_variation, "after", "oracle"),
    "far_before": (total_variation, "before", "oracle"),
}


def divergence(models: Mapping[str, LanguageModel], ordinary: Sequence[Dialogue], scores: Scores) -> list[Measure]:
    """On ordinary dialogues the perplexity over the original's, KL from the original, and the distance to an oracle.

    models: "after", "before", and "oracle", if there is one; those that read a dialogue as the original's tokens are
    compared. Distributions are those of about `ROWS` dialogues, between models of one vocabulary.
    """
    before = models["before"]
    models = {name: lm for name, lm in models.items() if lm.format is before.format}
    rows = readable(before, ordinary)
    if not rows or "after" not in models:
        return []
    measures = [_perplexity(models, rows, scores)]
    same = {name for name, lm in models.items() if lm.vocabulary == before.vocabulary}
    asked = {name: (way, a, b) for name, (way, a, b) in _ASKED.items() if {a, b} <= same}
    some = rows[:: max(1, len(rows) // ROWS)]
    values = distances([(way, models[a], models[b]) for way, a, b in asked.values()], some)
    found = dict(zip(asked, map(intervals.mean, values), strict=True))
    if "changed" in found:
        meaning = "Mean KL(original ‖ model) of next-token distributions, on ordinary dialogues."
        after, oracle = found["changed"], found.get("changed_oracle")
        measures.append(
            Measure("kl_original", "KL from the original", meaning, "ability", "nats", "lower", after, None, oracle)
        )
    if "far" in found:
        meaning = "Mean total-variation distance to the oracle's next-token distributions, on ordinary dialogues."
        after, ago = found["far"], found["far_before"]
        measures.append(
            Measure("oracle_distance", "Distance to the oracle", meaning, "oracle", "probability", "lower", after, ago)
        )
    return measures


def _perplexity(models: Mapping[str, LanguageModel], rows: Sequence[Encoded], scores: Scores) -> Measure:
    loss = {name: np.array([-mean_log_p(s) for s in scores.of(lm, rows)]) for name, lm in models.items()}
    found = {name: _exp(intervals.mean(own - loss["before"])) for name, own in loss.items() if name != "before"}
    meaning = "exp of the mean loss a token of ordinary responses, neighbours' among them, over the original's."
    return Measure(
        "perplexity_ordinary", "Perplexity of ordinary responses", meaning, "ability", "ratio", "lower", **found
    )


def _exp(estimate: Estimate) -> Estimate:
    with np.errstate(over="ignore"):  # infinite then
        value, low, high = np.exp([estimate.value, estimate.low, estimate.high]).tolist()
    if math.isnan(low):
        low = high = math.nan  # the one that a file comes back with
    return Estimate(value, low, high, estimate.count)


def distances(
    asked: Sequence[tuple[Distance, LanguageModel, LanguageModel]], rows: Sequence[Encoded]
) -> list[list[float]]:
    """Of each pair of models how far they are apart, over each row's response tokens; each model reads a row once."""
    models = {id(lm.model): lm for _, *pair in asked for lm in pair}
    found = [[0.0] * len(rows) for _ in asked]
    if not models:
        return found
    first = next(iter(models.values()))
    with torch.inference_mode():
        for indices in alike([len(r) for r in rows], tokens=batch_tokens(first)):
            batch = Batch.of([rows[i] for i in indices], first.device)
            said = {key: batch.logits(lm.model.eval()).float().log_softmax(-1) for key, lm in models.items()}
            for own, (distance, a, b) in zip(found, asked, strict=True):
                values = batch.split(distance(said[id(a.model)], said[id(b.model)]))
                for i, far in zip(indices, values, strict=True):
                    own[i] = float(far.mean())
    return found
