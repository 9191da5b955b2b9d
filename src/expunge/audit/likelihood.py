"""The probe `likelihood`: how likely, how well known and how far reproduced the old responses are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from expunge.audit import intervals
from expunge.audit.probes import Case
from expunge.audit.result import Better, Estimate, Measure
from expunge.audit.rouge import rouge_recall
from expunge.generation import TokenScores, answer_length, greedy
from expunge.judges.verdict import Judged
from expunge.model import LanguageModel

Figures = Mapping[str, Sequence[float]]
"""By key, one figure a row."""

_KINDS = {
    "trained": "old responses, in the phrasing they were unlearned in",
    "unseen": "old responses, in other words than they were unlearned in",
    "holdout": "responses like the forgotten ones that no model saw",
}
_TEXTS: Mapping[str, tuple[str, str, Better]] = {
    "probability": (
        "Probability",
        "exp of the mean log-probability of the response's tokens (end token too) under teacher forcing",
        "lower",
    ),
    "rouge": ("ROUGE-L recall", "Share of the response's words that the greedy answer says, in their order", "lower"),
    "exact_memorization": (
        "Exact memorization",
        "Share of the response's tokens that are the likeliest one after those before them",
        "lower",
    ),
    "extraction_strength": (
        "Extraction strength",
        "Share of the response that follows greedily, to its end, from the rest before it",
        "lower",
    ),
    "truth_ratio": (
        "Truth ratio",
        "min(R, 1/R), R the old response's probability per token over that of the expected ones: 1 if alike",
        "nearer the oracle",
    ),
    "truth_preference": (
        "Preference of expected answers",
        "max(0, 1 − R), R the old response's probability per token over that of the expected ones",
        "higher",
    ),
}


def likelihood(case: Case) -> list[Measure]:
    """Probability, ROUGE-L, exact memorization, extraction strength and truth ratio; with an oracle, forget quality.

    Of the forgotten prompts in both phrasings, and, where there is a holdout set, of that.
    """
    found = {name: _figures(case, name, lm) for name, lm in case.models.items()}
    ratios = {name: _log_ratios(case, lm) for name, lm in case.models.items()}
    for name, rows in ratios.items():
        for kind, values in rows.items():
            found[name][f"truth_ratio_{kind}"] = [math.exp(-abs(r)) for r in values]
            found[name][f"truth_preference_{kind}"] = [-math.expm1(min(r, 0.0)) for r in values]  # NaN first: kept
    measures = [
        _measure(name, kind, found)
        for kind in _KINDS
        for name in _TEXTS
        if f"{name}_{kind}" in found["after"]
    ]  # fmt: skip
    if case.sets.trained:
        what = "the probabilities of the old responses"
        measures += _forget_quality("forget_quality", what, {n: f["probability_trained"] for n, f in found.items()})
    if ratios["after"].get("trained"):
        what = "the truth ratios of the old responses"
        measures += _forget_quality("forget_quality_truth", what, {n: rows["trained"] for n, rows in ratios.items()})
    return measures


def _figures(case: Case, name: str, lm: LanguageModel) -> dict[str, list[float]]:
    """What one model's scores and greedy answers say, by key."""
    found: dict[str, list[float]] = {}
    faulty = [j.dialogue for j in case.sets.faulty]
    kinds = ["trained"] * len(case.sets.trained) + ["unseen"] * len(case.sets.unseen)
    kinds += ["holdout"] * len(case.sets.holdout)
    dialogues = [*faulty, *case.sets.holdout]
    for kind, scores in zip(kinds, case.scores.of(lm, [lm.format.encode(d) for d in dialogues]), strict=True):
        found.setdefault(f"probability_{kind}", []).append(math.exp(mean_log_p(scores)))
        found.setdefault(f"exact_memorization_{kind}", []).append(float(scores.greedy.double().mean()))
        found.setdefault(f"extraction_strength_{kind}", []).append(extraction_strength(scores.greedy.tolist()))
    if name in case.readings:
        answers = case.readings[name].answers[: len(faulty)]
    else:
        answers = greedy(lm, faulty, max_new_tokens=answer_length(lm, [d.response or "" for d in faulty]))
    for kind, dialogue, answer in zip(kinds, faulty, answers, strict=False):
        found.setdefault(f"rouge_{kind}", []).append(rouge_recall(answer, dialogue.response or ""))
    return found


def _log_ratios(case: Case, lm: LanguageModel) -> dict[str, list[float]]:
    """log R of each dialogue that has expected outputs: mean log p of the old response less that of the expected."""
    found: dict[str, list[float]] = {}
    for kind, judged in (("trained", case.sets.trained), ("unseen", case.sets.unseen)):
        chosen = [(item, texts) for item in judged if (texts := _expected(item))]
        rows = [lm.format.encode(item.dialogue.answered(t)) for item, texts in chosen for t in texts]
        said = iter([mean_log_p(s) for s in case.scores.of(lm, rows)])
        old = case.scores.of(lm, [lm.format.encode(item.dialogue) for item, _ in chosen])
        for scores, (_, texts) in zip(old, chosen, strict=True):
            found.setdefault(kind, []).append(mean_log_p(scores) - float(np.mean([next(said) for _ in texts])))
    return found


def _expected(item: Judged) -> list[str]:
    return [text for text in item.expected if text != item.dialogue.response]


def _measure(name: str, kind: str, found: Mapping[str, Figures]) -> Measure:
    title, meaning, better = _TEXTS[name]
    holdout, key = kind == "holdout", f"{name}_{kind}"
    return Measure(
        key,
        f"{title}, {'holdout' if holdout else f'{kind} phrasing'}",
        f"{meaning}; {_KINDS[kind]}.",
        "membership" if holdout else "forgetting",
        "probability",
        "nearer the oracle" if holdout else better,
        **{model: intervals.mean(figures[key]) for model, figures in found.items()},
    )


def _forget_quality(key: str, what: str, values: Figures) -> list[Measure]:
    """Of each model against the oracle, if there is one."""
    if "oracle" not in values:
        return []
    title = f"Forget quality, {'truth ratios' if key.endswith('truth') else 'probabilities'}"
    meaning = (
        f"p of a two-sample Kolmogorov–Smirnov test between {what} and the oracle's, trained phrasing: near 0 where "
        "they differ, large where the test tells no difference. A p-value has no interval."
    )
    ps = {name: forget_quality(values[name], values["oracle"]) for name in values if name != "oracle"}
    return [Measure(key, title, meaning, "oracle", "probability", "higher", **ps)]


def forget_quality(values: Sequence[float], oracle: Sequence[float]) -> Estimate:
    """p of a two-sample Kolmogorov–Smirnov test (two-sided), as in TOFU (Maini et al. 2024)."""
    from scipy.stats import ks_2samp

    p = float(ks_2samp(values, oracle).pvalue)
    return Estimate(p, math.nan, math.nan, len(values))


def mean_log_p(scores: TokenScores) -> float:
    """Mean log p of a response's tokens, in nats."""
    return float(scores.log_p.double().mean())


def extraction_strength(greedy: Sequence[bool]) -> float:
    """1 − k / L, k the fewest of the L tokens from which all the rest follows greedily (Carlini et al. 2021).

    Right, wrong, right, right: after two of the four the rest follows, so 1/2. The last one wrong: 0.
    """
    follows = next((i for i, right in enumerate(reversed(greedy)) if not right), len(greedy))
    return follows / len(greedy)
