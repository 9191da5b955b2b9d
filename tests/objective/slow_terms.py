"""Every term once more, as slow loops over float64: written from the equations, not from the code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import exp, expm1, log, log1p, tanh

import torch

from expunge.objective.said import Said
from expunge.objective.term import Kind

LN2 = log(2)


class Place:
    """One token: probabilities p and logits z over the vocabulary, in float64; y, what stands there."""

    def __init__(self, said: Said, i: int) -> None:
        self.z: list[float] = said.logits[i].double().tolist()
        top = max(self.z)
        total = sum(exp(z - top) for z in self.z)
        self.log_p = [z - top - log(total) for z in self.z]
        self.y = int(said.targets[i])
        others = sum(exp(z - top) for v, z in enumerate(self.z) if v != self.y)
        self.log_py, self.log_d = self.log_p[self.y], log(others) - log(total)
        self.reference: list[float] = [] if said.original is None else said.original[i].double().tolist()
        self.reference_y = 0.0 if said.original_targets is None else float(said.original_targets[i])
        self.top = [] if said.top is None else list(zip(said.top[0][i].tolist(), said.top[1][i].double(), strict=False))
        self.rest = 0.0 if said.top is None else float(said.top[1][i][-1].double())
        self.level = 0.0 if said.levels is None else float(said.levels[i])
        self.mean = [] if said.mean is None else list(zip(*(part[i].tolist() for part in said.mean), strict=True))
        self.states = [] if said.inner is None else said.inner.states[i].double().tolist()
        kept = None if said.inner is None else said.inner.original
        self.kept = [] if kept is None else kept[i].double().tolist()


def entropy_to(target: list[float], log_p: list[float]) -> float:
    return -sum(q * lp for q, lp in zip(target, log_p, strict=True))


def softmax(z: list[float]) -> list[float]:
    top = max(z)
    total = sum(exp(v - top) for v in z)
    return [exp(v - top) / total for v in z]


def undial(t: Place) -> float:
    return entropy_to(softmax([r - 10 * (v == t.y) for v, r in enumerate(t.reference)]), t.log_p)


def ceu(t: Place) -> float:
    return entropy_to(softmax([-1e9 if v == t.y else z for v, z in enumerate(t.z)]), t.log_p)


def divergence(p: list[float], q: list[float]) -> float:
    """Jensen–Shannon."""
    pairs = [(a, (a + b) / 2) for a, b in zip(p, q, strict=True)] + [
        (b, (a + b) / 2) for a, b in zip(p, q, strict=True)
    ]
    return sum(a * log(a / m) for a, m in pairs if a > 0) / 2


def jensun(t: Place) -> float:
    return divergence([exp(lp) for lp in t.log_p], [float(v == t.y) for v in range(len(t.z))])


def jsd(t: Place) -> float:
    return divergence([exp(lp) for lp in t.log_p], [exp(r) for r in t.reference])


def kl_top(t: Place) -> float:
    others = log(sum(exp(lp) for v, lp in enumerate(t.log_p) if v not in dict(t.top)))
    return exp(t.rest) * (t.rest - others) + sum(exp(r) * (float(r) - t.log_p[v]) for v, r in t.top)


def match(t: Place) -> float:
    q = exp(t.level)
    gap = abs((1 - q) * (t.log_py - t.log_d - t.level + log(-expm1(t.level))))
    return gap * gap / 2 if gap <= 1 else gap - 0.5


def squares(a: list[float], b: list[float]) -> float:
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


def hidden(t: Place) -> float:
    layers = list(zip(t.states, t.kept, strict=True))
    return sum(squares(h, k) / sum(x * x for x in k) for h, k in layers) / len(layers)


TOKEN: Mapping[str, Callable[[Place], float]] = {
    "distance": lambda t: -t.log_d,
    "match": match,
    "ascent": lambda t: t.log_py,
    "wga": lambda t: exp(t.log_py) * t.log_py,
    "satimp": lambda t: exp(t.log_py) ** 5 * exp(t.log_d) * t.log_py,
    "undial": undial,
    "ceu": ceu,
    "logit_spread": lambda t: (max(t.z) - sum(t.z) / len(t.z)) ** 2,
    "jensun": jensun,
    "rmu": lambda t: squares(t.states[0], [1.0, 1.0, 1.0, 1.0, 0.0]) / 5,
    "cluster_mean": lambda t: sum(q * (log(q) - t.log_p[v]) for v, q in t.mean if q > 0),
    "expected_nll": lambda t: -t.log_py,
    "normal_nll": lambda t: -t.log_py,
    "rise": lambda t: max(t.reference_y - t.log_py, -1.0),
    "kl": lambda t: sum(exp(r) * (r - lp) for r, lp in zip(t.reference, t.log_p, strict=True)),
    "kl_top": kl_top,
    "jsd": jsd,
    "hidden_mse": lambda t: squares(t.states[0], t.kept[0]) / len(t.kept[0]),
    "hidden": hidden,
}
"""Of a token; a row's value is the mean over its tokens, a step's the mean over its rows."""


def ratio(row: list[Place]) -> float:
    return sum(t.log_py - t.reference_y for t in row)


def probability(row: list[Place]) -> float:
    return sum(exp(t.log_py) for t in row) / len(row)


def soft(x: float) -> float:
    """−log σ(x)."""
    return log1p(exp(-x)) if x > -30 else -x


ROW: Mapping[str, Callable[..., float]] = {
    "npo": lambda bad: 20 * soft(-0.1 * ratio(bad)),
    "simnpo": lambda bad: 2 / 4.5 * soft(-4.5 * sum(t.log_py for t in bad) / len(bad)),
    "dpo": lambda bad, good: 20 * soft(0.1 * (ratio(good) - ratio(bad))),
    "flat": lambda bad, good: exp(probability(bad) - 1) - probability(good),
    "flat_tv": lambda bad, good: (tanh(probability(bad)) - tanh(probability(good))) / 2,
}
"""Of a row, or of a pair of a forget and an expected row."""


def in_float64(name: str, step: Mapping[Kind, Said]) -> float:
    """The mean over the rows of a whole step."""
    kinds = [rows_of(said) for said in step.values()]
    if name in ROW:
        return sum(ROW[name](*rows) for rows in zip(*kinds, strict=True)) / len(kinds[0])
    (rows,) = kinds
    return sum(sum(map(TOKEN[name], row)) / len(row) for row in rows) / len(rows)


def rows_of(said: Said) -> list[list[Place]]:
    """The tokens, row by row."""
    with torch.no_grad():
        return [
            [Place(said, i) for i in range(len(said.rows)) if said.rows[i] == row] for row in range(int(said.count))
        ]
