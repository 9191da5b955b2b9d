"""What a benchmark found of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from expunge.audit import intervals
from expunge.audit.result import Better, Group, Measure, finite
from expunge.audit.scores import Scores
from expunge.model import LanguageModel
from expunge.progress import Progress, Quiet

Figures = Mapping[str, Sequence[float]]
"""By key, one figure a row."""


@dataclass(frozen=True, slots=True)
class Result:
    """All figures of one benchmark: `after` of each measure is the model's, `oracle` the oracle's.

    facts: which part of the benchmark, where its rows lay, and how many were read.
    """

    benchmark: str
    model: str
    oracle: str | None
    measures: tuple[Measure, ...]
    facts: Mapping[str, Any]

    def row(self) -> dict[str, Any]:
        """As JSON."""
        figures = []
        for measure in self.measures:
            row = asdict(measure)
            del row["before"], row["apart"]
            figures.append(row | {"model": row.pop("after"), "oracle": row.pop("oracle")})
        head = {"benchmark": self.benchmark, "model": self.model, "oracle": self.oracle}
        return {**head, "measures": finite(figures), "facts": dict(self.facts)}


@dataclass(frozen=True, slots=True)
class Models:
    """Who is measured, and what is known of their likelihoods. oracle: a model that never saw the forget set."""

    model: LanguageModel
    oracle: LanguageModel | None = None
    scores: Scores = field(default_factory=Scores)
    progress: Progress = field(default_factory=Quiet)

    @property
    def named(self) -> dict[str, LanguageModel]:
        """The models there are, by the names that a `Measure` has for them."""
        return {"after": self.model} | ({"oracle": self.oracle} if self.oracle else {})

    def result(self, benchmark: str, measures: Sequence[Measure], facts: Mapping[str, Any]) -> Result:
        """The measures with the names of the models."""
        oracle = self.oracle.name if self.oracle else None
        return Result(benchmark, self.model.name, oracle, tuple(measures), facts)


def mean(
    key: str, title: str, meaning: str, group: Group, better: Better, found: Mapping[str, Figures], *, of: str = ""
) -> Measure:
    """The mean over rows of each model's figures of one key (`of`, by default the measure's own)."""
    estimates = {name: intervals.mean(figures[of or key]) for name, figures in found.items()}
    return Measure(key, title, meaning, group, "probability", better, **estimates)
