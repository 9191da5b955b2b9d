"""The probe `membership`: can an attacker tell what was forgotten from what was never seen?"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from expunge.audit import intervals
from expunge.audit.gradients import gradient_norms
from expunge.audit.intervals import Sides
from expunge.audit.likelihood import mean_log_p
from expunge.audit.probes import Case, check_sets
from expunge.audit.result import Estimate, Measure
from expunge.encoding import Encoded
from expunge.generation import TokenScores
from expunge.model import LanguageModel

MIN_K = 0.4
"""Share of a response's tokens, the least likely ones, that Min-K % and Min-K %++ look at."""

_TEXTS = {
    "loss": ("loss", "mean log p of the response"),
    "zlib": ("zlib", "mean log p of the response over the bytes that zlib needs for it"),
    "reference": ("against the original", "mean log p of the response less that under the original model"),
    "mink": ("Min-K %", f"mean log p of the {MIN_K:.0%} least likely tokens"),
    "minkpp": ("Min-K %++", f"mean of the {MIN_K:.0%} lowest log p, each standardised under the model's distribution"),
    "gradient": ("gradient norm", "minus the norm of the gradient of the mean NLL by the last layer's weights"),
}


def membership(case: Case) -> list[Measure]:
    """The AUC of each attack on the trained forget rows (members) against the holdout rows; with an oracle, PrivLeak.

    Raises:
        InputError: there is no holdout set.
    """
    check_sets(["membership"], case.sets)
    original = _log_ps(case, case.before)
    found = {name: _attacks(case, lm, original) for name, lm in case.models.items()}
    del found["before"]["reference"]  # the same model twice: nothing to tell apart
    return measures_of(found)


def measures_of(found: Mapping[str, Mapping[str, Sides]]) -> list[Measure]:
    """The AUC of each attack, and, with an oracle, PrivLeak. found: by model and attack."""
    asked = [attack for attack in _TEXTS if attack in found["after"]]
    measures = [_measure(attack, {n: a[attack] for n, a in found.items() if attack in a}) for attack in asked]
    if "oracle" in found:
        measures += _privleak({name: attacks["mink"] for name, attacks in found.items()})
    return measures


def parted(scores: Mapping[str, Sequence[float]], members: int) -> dict[str, Sides]:
    """By attack, the scores of the first rows, which are the members, and of the others."""
    return {attack: (values[:members], values[members:]) for attack, values in scores.items()}


def attacks(scores: Sequence[TokenScores], texts: Sequence[str]) -> dict[str, list[float]]:
    """The score of each row by each attack that a forward pass suffices for; the higher, the more like a member."""
    loss = [mean_log_p(row) for row in scores]
    return {
        "loss": loss,
        "zlib": [log_p / compressed(text) for log_p, text in zip(loss, texts, strict=True)],
        "mink": [min_k(row) for row in scores],
        "minkpp": [min_k_plus_plus(row) for row in scores],
    }


def _rows(case: Case, lm: LanguageModel) -> list[Encoded]:
    return [lm.format.encode(d) for d in (*(j.dialogue for j in case.sets.trained), *case.sets.holdout)]


def _log_ps(case: Case, lm: LanguageModel) -> list[float]:
    return [mean_log_p(scores) for scores in case.scores.of(lm, _rows(case, lm))]


def _attacks(case: Case, lm: LanguageModel, original: Sequence[float]) -> dict[str, Sides]:
    texts = [*(j.dialogue.response or "" for j in case.sets.trained), *(d.response or "" for d in case.sets.holdout)]
    rows = _rows(case, lm)
    found = attacks(case.scores.of(lm, rows), texts)
    found["reference"] = [log_p - other for log_p, other in zip(found["loss"], original, strict=True)]
    found["gradient"] = [-norm for norm in gradient_norms(lm, rows, case.scores)]
    return parted(found, len(case.sets.trained))


def compressed(text: str) -> int:
    """Bytes that zlib needs for a text."""
    return len(zlib.compress(text.encode()))


def min_k(scores: TokenScores) -> float:
    """Mean log p of the least likely tokens, `MIN_K` of all, at least one (Min-K %, Shi et al. 2023)."""
    return _lowest(scores.log_p.double().numpy())


def min_k_plus_plus(scores: TokenScores) -> float:
    """The same of (log p − its mean) / its deviation, both under the model's own distribution (Zhang et al. 2024)."""
    log_p, mean, deviation = (x.double().numpy() for x in (scores.log_p, scores.mean, scores.deviation))
    return _lowest((log_p - mean) / np.maximum(deviation, 1e-9))  # 0 where the model is wholly sure


def _lowest(values: np.ndarray) -> float:
    return float(np.sort(values)[: max(1, int(MIN_K * values.size))].mean())


def _measure(attack: str, sides: Mapping[str, Sides]) -> Measure:
    title, score = _TEXTS[attack]
    meaning = (
        f"AUC of telling forgotten rows (members) from rows that no model saw, by {score}. Both tails are a leak: far "
        "above the oracle's it remembers; far below, what was pressed down shows as plainly."
    )
    return Measure(
        f"membership_{attack}",
        f"Membership inference: {title}",
        meaning,
        "membership",
        "probability",
        "nearer the oracle",
        **{name: intervals.auc(*pair) for name, pair in sides.items()},
        apart=intervals.apart(sides["after"], sides["oracle"]) if "oracle" in sides else None,
    )


def _privleak(sides: Mapping[str, Sides]) -> list[Measure]:
    found = {name: intervals.privleak(pair, sides["oracle"]) for name, pair in sides.items()}
    known: dict[str, Estimate] = {name: estimate for name, estimate in found.items() if estimate is not None}
    if "after" not in known:
        return []
    meaning = (
        "(AUC − the oracle's) / the oracle's, AUC being that of the rows no model saw, by Min-K %: 0 is the oracle; "
        "towards −100% it is still known; above 0 it was pressed below what a model says that never saw it."
    )
    return [Measure("privleak", "PrivLeak", meaning, "membership", "share", "nearer the oracle", **known)]
