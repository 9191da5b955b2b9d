"""Every method as a row of one table: which terms, weighed how, with which settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from expunge.objective import negative, normal, positive, sequence
from expunge.objective.term import Term

_ALL = (
    Term("distance", "negative", negative.distance, ("forget",), options={"ignorance": 0.0}),
    Term("ascent", "negative", negative.ascent, ("forget",)),
    Term("npo", "negative", sequence.npo, ("forget",), original="targets", options={"beta": 0.1}),
    Term("simnpo", "negative", sequence.simnpo, ("forget",), options={"beta": 4.5, "delta": 0.0}),
    Term("dpo", "negative", sequence.dpo, ("forget", "expected"), original="targets", options={"beta": 0.1}),
    Term("cluster_mean", "positive", positive.cluster_mean, ("expected",), mean=True),
    Term("expected_nll", "positive", positive.nll, ("expected",)),
    Term("normal_nll", "normal", positive.nll, ("normal",)),
    Term("kl", "normal", normal.kl, ("normal",), original="vocabulary"),
    Term("hidden", "hidden", normal.hidden, ("normal",), original="states", hidden=True),
)
TERMS: Mapping[str, Term] = {term.name: term for term in _ALL}


@dataclass(frozen=True, slots=True)
class Method:
    """A way to unlearn.

    terms: their losses, times the weights of their slots, add up.
    options: of the terms, by name, where they differ from the terms' own defaults.
    settings: fields of `training.UnlearnConfig` that the method sets; a user may set them otherwise.
    meaning: one line. source: paper and arXiv number.
    """

    name: str
    meaning: str
    source: str
    terms: tuple[Term, ...]
    settings: Mapping[str, float | bool | str]
    options: Mapping[str, float] = field(default_factory=dict)


def _weights(negative: float, positive: float, normal: float, hidden: float = 0.0) -> dict[str, float | bool | str]:
    return {
        "negative_weight": negative,
        "positive_weight": positive,
        "normal_weight": normal,
        "hidden_weight": hidden,
    }


_FIELD: dict[str, float | bool | str] = {"noise": 0.0, "judged": False, "epsilon": 1e-8}
"""As the field trains: plain Adam, no noise, a fixed number of steps over all rows."""


def _terms(*names: str) -> tuple[Term, ...]:
    return tuple(TERMS[name] for name in names)


_METHODS = (
    Method(
        "default",
        "away from the old output down to ignorance, toward the cluster mean, with outputs and hidden states kept",
        "Expunge; arXiv 2404.16841 with the retain term of arXiv 2403.03218",
        _terms("distance", "cluster_mean", "kl", "hidden"),
        {**_weights(2.0, 3.0, 20.0, 20.0), "noise": 1.0},
    ),
    Method(
        "paper",
        "away from the old output, toward the cluster mean of the expected ones, with KL on normal dialogues",
        "Machine Unlearning in Large Language Models, arXiv 2404.16841",
        _terms("distance", "cluster_mean", "kl"),
        {**_weights(2.0, 3.0, 20.0), "noise": 0.0},
    ),
    Method(
        "grad_ascent",
        "the loss on the forget set is maximised, and nothing is kept",
        "Knowledge Unlearning, arXiv 2210.01504",
        _terms("ascent"),
        {**_weights(1.0, 0.0, 0.0), **_FIELD},
    ),
    Method(
        "grad_diff",
        "gradient ascent on the forget set, descent on normal dialogues",
        "TOFU, arXiv 2401.06121",
        _terms("ascent", "normal_nll"),
        {**_weights(1.0, 0.0, 1.0), **_FIELD},
    ),
    Method(
        "npo",
        "the old response loses against the original model's, ever more weakly",
        "Negative Preference Optimization, arXiv 2404.05868",
        _terms("npo", "normal_nll"),
        {**_weights(1.0, 0.0, 1.0), **_FIELD},
    ),
)
METHODS: Mapping[str, Method] = {method.name: method for method in _METHODS}
