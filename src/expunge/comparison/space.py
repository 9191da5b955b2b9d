"""Where a method's settings are searched: each on a logarithmic scale around its place in the method."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from expunge.comparison.entries import SHARED
from expunge.objective.terms import TERMS
from expunge.training.config import UnlearnConfig, method_of

REACH = 10.0
"""How many times less, and more, than in the method a setting may be."""


@dataclass(frozen=True, slots=True)
class Dimension:
    """One setting: a field of `UnlearnConfig`, or `options.NAME`; from `low` to `high`, both included.

    whole: whole numbers only.
    """

    name: str
    default: float
    low: float
    high: float
    whole: bool = False


def space_of(config: UnlearnConfig, width: int) -> tuple[Dimension, ...]:
    """What is searched around `config`, for a model with hidden states of this width.

    The learning rate, the weights of the terms relative to the first one (Adam's steps hardly know how large all are
    together), options and limits that are not 0, the rank of an adapter, and how many of the steps are taken.
    """
    return tuple(d for d in _dimensions(config, width) if d.low < d.high)


def _dimensions(config: UnlearnConfig, width: int) -> Iterator[Dimension]:
    method = method_of(config.method)
    terms = [TERMS[name] for name in config.terms or method.terms]
    terms = [term for term in terms if config.weights[term.slot]]
    yield _around("learning_rate", config.rate(width))
    for term in terms[1:]:
        yield _around(f"{term.slot}_weight", config.weights[term.slot])
    if config.normal_limit:
        yield _around("normal_limit", config.normal_limit)
    for term in terms:
        for name in sorted(term.options.keys() - {"ignorance"}):
            value = {**term.options, **method.options, **config.options}[name]
            if value > 0:
                yield _around(f"options.{name}", value)
    if config.lora_rank:
        rank = config.lora_rank
        yield Dimension("lora_rank", rank, max(1, rank // 4), 4 * rank, whole=True)
    steps = config.max_steps
    yield Dimension("max_steps", steps, max(1, steps // 8), steps, whole=True)


def _around(name: str, value: float) -> Dimension:
    return Dimension(name, value, value / REACH, value * REACH)


def placed(config: UnlearnConfig, values: Mapping[str, float]) -> UnlearnConfig:
    """The settings with these values, by names of dimensions.

    Raises:
        InputError: they do not go together.
    """
    options = {name.removeprefix("options."): value for name, value in values.items() if "." in name}
    fields: dict[str, Any] = {name: value for name, value in values.items() if "." not in name}
    return replace(config, **fields, options={**config.options, **options})


def toml(config: UnlearnConfig) -> str:
    """The settings as a table [unlearn] of a recipe: the method, what differs from it, and what a recipe would fill in.
    The seed is the recipe's."""
    plain = UnlearnConfig.of(config.method, lora_rank=config.lora_rank)
    names = [field.name for field in dataclasses.fields(config) if field.name not in ("seed", "method", "options")]
    changed = {n: getattr(config, n) for n in names if n in SHARED or getattr(config, n) != getattr(plain, n)}
    lines = ["[unlearn]", *(_line(name, value) for name, value in {"method": config.method, **changed}.items())]
    if config.options:
        lines += ["", "[unlearn.options]", *(_line(name, value) for name, value in config.options.items())]
    return "\n".join(lines) + "\n"


def _line(name: str, value: object) -> str:
    return f"{name} = {json.dumps(value, ensure_ascii=False)}"
