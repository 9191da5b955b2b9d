"""What is to be unlearned, in rows and tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from expunge.dialogue import parse
from expunge.planning.lengths import Measure, by_characters
from expunge.planning.mirror import ADVERSARY_ROWS, TERMS
from expunge.recipe import Recipe
from expunge.sources import stream_rows, unsliced
from expunge.training.config import UnlearnConfig

PADDING = 1.04
"""Tokens to a token where rows lie side by side (`packing.pack`): 1.01 to 1.06 for lengths of many kinds."""

SIDE = 2.2
"""Mean rows in one sequence: twice the longest row, where lengths differ little; 3 to 5 where they differ much."""

MOST = 2_000
"""Rows of a file whose lengths are measured."""


@dataclass(frozen=True, slots=True)
class Workload:
    """forget, normal: rows of the two sets. prompt, response: mean tokens of a row, end token included."""

    forget: int = 100
    normal: int = 1000
    prompt: int = 128
    response: int = 128

    @property
    def row(self) -> int:
        return self.prompt + self.response

    @property
    def new(self) -> int:
        """Tokens that an answer may have at most."""
        return int(1.5 * self.response) + 8

    def step(self, config: UnlearnConfig, processes: int = 1) -> Step:
        """One part of a step: with accumulation or several processes, the largest."""
        forget, parts = min(config.forget_rows, self.forget), config.accumulation * processes
        forget, normal = (-(-rows // parts) for rows in (forget, config.normal_rows))
        terms = (TERMS[name] for name in config.named_terms(never_seen=False))
        read = {kind for term in terms if config.weights[term.slot] for kind in term.reads}
        rows = {"forget": forget, "expected": forget, "normal": normal}
        pushed, taught, kept = (count if kind in read else 0 for kind, count in rows.items())
        return Step(pushed, taught, kept, self.prompt, self.response)

    def attack(self) -> Step:
        """A pass of an adversary: old responses of half the forget set, whatever the parts of a step."""
        return Step(min(ADVERSARY_ROWS, max(1, self.forget // 2)), 0, 0, self.prompt, self.response)

    def kept(self, config: UnlearnConfig) -> int:
        """Normal rows that any step can ask for."""
        return min(self.normal, config.max_steps * config.normal_rows)


@dataclass(frozen=True, slots=True)
class Step:
    """Rows that go through the model at once: pushed away from, taught, and kept as they are."""

    pushed: int
    taught: int
    kept: int
    prompt: int
    response: int

    @property
    def rows(self) -> int:
        return self.pushed + self.taught + self.kept

    @property
    def row(self) -> int:
        return self.prompt + self.response

    @property
    def tokens(self) -> int:
        """Of all rows, padding included."""
        return round(self.rows * self.row * PADDING)

    @property
    def columns(self) -> int:
        """Tokens of one sequence, in which rows lie side by side."""
        return min(self.tokens, round(SIDE * self.row))


def workload_of(recipe: Recipe, start: Workload, measure: Measure = by_characters) -> Workload:
    """Rows and lengths of a recipe's files; what cannot be read from them stays as in `start`.

    With judges every logged dialogue counts as one to forget: how many they flag is not known beforehand.

    Raises:
        InputError: a file that cannot be read as dialogues, or the measure's.
    """
    (forgotten, forget), (kept, normal) = (_lengths(names, measure) for names in (recipe.dialogues, recipe.normal))
    said = [length for length in (*forgotten, *kept) if length[1]]
    found = replace(start, forget=forget or start.forget, normal=normal or start.normal)
    if not said:
        return found
    prompt, response = (max(1, round(sum(column) / len(said))) for column in zip(*said, strict=True))
    return replace(found, prompt=prompt, response=response)


def _lengths(names: Sequence[str], measure: Measure) -> tuple[list[tuple[float, float]], int]:
    """Tokens of prompt and response of each file's first rows, and how many rows there are in all."""
    found, count = [], 0
    for name in names:
        for number, (line, row) in enumerate(stream_rows(name)):
            count += 1
            if number < MOST:
                found.append(measure(parse(row, file=unsliced(name)[0], line=line)))
    return found, count
