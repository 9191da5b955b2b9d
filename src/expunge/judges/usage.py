"""What remote judges have used up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from expunge.judges.verdict import Judge
from expunge.progress import Progress


@dataclass(frozen=True, slots=True)
class Usage:
    """Answers and tokens of one remote judge, as its server counts them; answers taken from the cache are free.

    cost: by the prices given, in their currency; none without prices.
    """

    model: str
    answers: int = 0
    failures: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None

    def __str__(self) -> str:
        text = f"{self.model}: {self.answers:,} answers, {self.failures:,} failed"
        text += f", {self.prompt_tokens:,} tokens read, {self.completion_tokens:,} written"
        return text if self.cost is None else f"{text}, cost {self.cost:.4f}"

    def row(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


def usage_of(judges: Iterable[Judge]) -> list[Usage]:
    """The usage of every judge that has one, inside panels and thresholds too."""
    found: list[Usage] = []
    for judge in judges:
        usage = getattr(judge, "usage", None)
        if isinstance(usage, Usage):
            found.append(usage)
        inner = getattr(judge, "inner", None)
        found += usage_of([*getattr(judge, "judges", ()), *([inner] if inner is not None else [])])
    return found


def tell_usage(judges: Iterable[Judge], progress: Progress) -> None:
    """As notes, one for each judge that keeps count."""
    for usage in usage_of(judges):
        progress.note(str(usage))
