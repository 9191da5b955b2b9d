"""Every method as a row of one table: which terms, weighed how, with which settings. Takes no torch to read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Method:
    """A way to unlearn.

    terms: names in `objective.terms.TERMS`; their losses, times the weights of their slots, add up.
    options: of the terms, by name, where they differ from the terms' own defaults.
    settings: fields of `training.UnlearnConfig` that the method sets; a user may set them otherwise.
    meaning: one line. source: paper and arXiv number.
    """

    name: str
    meaning: str
    source: str
    terms: tuple[str, ...]
    settings: Mapping[str, float | bool | str]
    options: Mapping[str, float] = field(default_factory=dict)


def _weights(negative: float, positive: float, normal: float, hidden: float = 0.0) -> dict[str, float | bool | str]:
    return {
        "negative_weight": negative,
        "positive_weight": positive,
        "normal_weight": normal,
        "hidden_weight": hidden,
    }


_FIELD: dict[str, float | bool | str] = {"noise": 0.0, "judged": False, "epsilon": 1e-8, "adversary": 0.0}
"""As the field trains: plain Adam, no noise, no adversary, a fixed number of steps over all rows."""


_METHODS = (
    Method(
        "default",
        "away from the old output down to ignorance, toward the cluster mean, with outputs and hidden states kept",
        "Expunge; arXiv 2404.16841 with the retain term of arXiv 2403.03218",
        ("distance", "cluster_mean", "rise", "hidden"),
        {**_weights(2.0, 3.0, 2.0, 4.0), "noise": 1.0},
    ),
    Method(
        "paper",
        "away from the old output, toward the cluster mean of the expected ones, with KL on normal dialogues",
        "Machine Unlearning in Large Language Models, arXiv 2404.16841",
        ("distance", "cluster_mean", "kl"),
        {**_weights(2.0, 3.0, 20.0), "noise": 0.0, "adversary": 0.0},
    ),
    Method(
        "grad_ascent",
        "the loss on the forget set is maximised, and nothing is kept",
        "Knowledge Unlearning, arXiv 2210.01504",
        ("ascent",),
        {**_weights(1.0, 0.0, 0.0), **_FIELD},
    ),
    Method(
        "grad_diff",
        "gradient ascent on the forget set, descent on normal dialogues",
        "TOFU, arXiv 2401.06121",
        ("ascent", "normal_nll"),
        {**_weights(1.0, 0.0, 1.0), **_FIELD},
    ),
    Method(
        "grad_diff_kl",
        "gradient ascent on the forget set, KL to the original on normal dialogues",
        "TOFU, arXiv 2401.06121",
        ("ascent", "kl"),
        {**_weights(1.0, 0.0, 1.0), **_FIELD},
    ),
    Method(
        "npo",
        "the old response loses against the original model’s, ever more weakly",
        "Negative Preference Optimization, arXiv 2404.05868",
        ("npo", "normal_nll"),
        {**_weights(1.0, 0.0, 1.0), **_FIELD},
    ),
    Method(
        "simnpo",
        "as NPO, by the mean over a response and without the original",
        "SimNPO, arXiv 2410.07163",
        ("simnpo", "normal_nll"),
        {**_weights(0.125, 0.0, 1.0), **_FIELD},
    ),
    Method(
        "idk_dpo",
        "a refusal is preferred to the old response",
        "TOFU, arXiv 2401.06121",
        ("dpo", "normal_nll"),
        {**_weights(1.0, 0.0, 1.0), **_FIELD},
    ),
    Method(
        "idk_nll",
        "a refusal is taught in place of the old response",
        "TOFU, arXiv 2401.06121",
        ("expected_nll", "normal_nll"),
        {**_weights(0.0, 1.0, 1.0), **_FIELD},
    ),
    Method(
        "alt_po",
        "a plausible other answer is preferred to the old response",
        "AltPO, arXiv 2409.13474",
        ("dpo", "normal_nll"),
        {**_weights(1.0, 0.0, 1.0), **_FIELD},
    ),
    Method(
        "rmu",
        "hidden states of the old response go to a random direction, those of normal dialogues stay",
        "RMU, arXiv 2403.03218",
        ("rmu", "hidden_mse"),
        {**_weights(1.0, 0.0, 1.0), **_FIELD, "modules": "down_proj"},
    ),
    Method(
        "undial",
        "learns the original’s own outputs with the logit of the old token lowered",
        "UNDIAL, arXiv 2402.10052",
        ("undial",),
        {**_weights(1.0, 0.0, 0.0), **_FIELD},
    ),
    Method(
        "ceu",
        "learns its own outputs without the old token",
        "CE-U, arXiv 2503.01224",
        ("ceu",),
        {**_weights(1.0, 0.0, 0.0), **_FIELD},
    ),
    Method(
        "wga",
        "gradient ascent, weaker the less probable a token is",
        "WGA, arXiv 2502.19301",
        ("wga", "normal_nll"),
        {**_weights(1.0, 0.0, 1.0), **_FIELD},
    ),
    Method(
        "satimp",
        "gradient ascent, weighed by how saturated and how important a token is",
        "SatImp, arXiv 2505.11953",
        ("satimp", "normal_nll"),
        {**_weights(0.1, 0.0, 1.0), **_FIELD},
    ),
    Method(
        "pdu",
        "logits are flattened under a limit on the normal loss, kept by a multiplier",
        "PDU, arXiv 2506.05314",
        ("logit_spread", "normal_nll"),
        {**_weights(1.0, 0.0, 1.0), **_FIELD, "normal_limit": 0.3},
    ),
    Method(
        "jensun",
        "Jensen–Shannon divergence to a refusal, and to the original on normal dialogues",
        "JensUn, arXiv 2509.02820",
        ("jensun", "jsd"),
        {**_weights(1.0, 0.0, 1.0), **_FIELD},
    ),
    Method(
        "flat",
        "the f-divergence (KL) between refusal and old response grows; forget data only",
        "FLAT, arXiv 2410.11143",
        ("flat",),
        {**_weights(1.0, 0.0, 0.0), **_FIELD},
    ),
    Method(
        "flat_tv",
        "as flat, with the total variation",
        "FLAT, arXiv 2410.11143",
        ("flat_tv",),
        {**_weights(1.0, 0.0, 0.0), **_FIELD},
    ),
)
METHODS: Mapping[str, Method] = {method.name: method for method in _METHODS}
