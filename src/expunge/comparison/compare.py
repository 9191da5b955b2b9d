"""Many methods on one split, each with several seeds: every cell is trained and scored once, and kept."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from expunge.comparison.score import Score, Scorer
from expunge.errors import InputError
from expunge.files import digest, make_folder, read_text, write_json
from expunge.judges.names import load_judge
from expunge.judges.verdict import Judge
from expunge.manifest import Manifest
from expunge.model import LanguageModel, limit_threads, load_model
from expunge.pipeline import judged_split
from expunge.progress import Progress, Quiet
from expunge.questions import audit_sets
from expunge.recipe import Recipe
from expunge.selection import Split, read_normal
from expunge.training.active import DivergedError
from expunge.training.config import UnlearnConfig
from expunge.training.unlearn import unlearn

VERSION = "1"
"""Of the score: cells that an older one took are not taken over."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One training and its score.

    name: the method, or what its settings are called. score: None where the training diverged, and `reason` says where.
    outcome, steps, tokens: see `training.unlearn.Unlearned`. seconds: of the training, with loading.
    """

    name: str
    seed: int
    score: Score | None
    reason: str
    outcome: str
    steps: int
    tokens: int
    seconds: float

    def row(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Cell:
        """From `row`, as JSON keeps it."""
        return cls(**{**row, "score": Score(**row["score"]) if row["score"] else None})


@dataclass(frozen=True, slots=True)
class Comparison:
    """original, oracle: scores of the model itself, and of one that never saw the forget set, where there is one."""

    cells: tuple[Cell, ...]
    original: Score
    oracle: Score | None

    def of(self, name: str) -> list[Cell]:
        return [cell for cell in self.cells if cell.name == name]

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys(cell.name for cell in self.cells))

    def row(self) -> dict[str, Any]:
        oracle = asdict(self.oracle) if self.oracle else None
        return {"original": asdict(self.original), "oracle": oracle, "cells": [cell.row() for cell in self.cells]}


def compare(
    recipe: Recipe,
    methods: Mapping[str, UnlearnConfig],
    out: Path,
    *,
    seeds: int = 3,
    relearn_rate: float | None = None,
    allow_remote: bool = False,
    progress: Progress | None = None,
) -> Comparison:
    """Train and score each of `methods` with each seed, in the folder `out`. What is there is not done again.

    relearn_rate: see `Scorer`.

    Raises:
        InputError: the recipe names nothing ordinary to score ability on. OutputError: `out` holds something else.
    """
    progress = progress or Quiet()
    limit_threads()
    judges = [load_judge(spec, allow_remote=allow_remote) for spec in recipe.judges]
    normal = read_normal(recipe.normal)
    parts = judged_split(recipe, judges, normal, out, Manifest.begin(out, recipe), progress)
    sets = audit_sets(parts.forget, judges, recipe.unseen, recipe.ability, recipe.neighbours, recipe.holdout)
    if not sets.ordinary:
        remedy = "Give dialogues with right responses as `ability` or `neighbours` in [audit]."
        raise InputError("there is nothing to score ability on", remedy=remedy)
    oracle = load(recipe, recipe.oracle) if recipe.oracle else None
    scorer = Scorer(load(recipe, recipe.model), sets, oracle, seed=recipe.seed, relearn_rate=relearn_rate)
    wanted = [(name, replace(config, seed=seed)) for name, config in methods.items() for seed in range(seeds)]
    cells = []
    with progress.stage("Comparing", len(wanted)) as advance:
        for name, config in wanted:
            cells.append(cell(recipe, name, config, parts, judges, scorer, out))
            advance(1)
    ends = [_kept(out / "scores" / f"{name}.json", scorer, lm) for name, lm in _ends(recipe, oracle, relearn_rate)]
    return Comparison(tuple(cells), ends[0], ends[1] if oracle else None)


def cell(
    recipe: Recipe, name: str, config: UnlearnConfig, parts: Split, judges: Sequence[Judge], scorer: Scorer, out: Path
) -> Cell:
    """One cell: as kept in `out`, or trained (or trained on) and scored now. Its weights are not kept."""
    key = digest(json.dumps([VERSION, scorer.key, asdict(config)], sort_keys=True))[:16]
    path = make_folder(out / "cells") / f"{key}.json"
    if path.exists():
        return replace(Cell.of(json.loads(read_text(path))), name=name)
    work = out / "work" / key
    start = time.monotonic()
    found = _scored(recipe, name, config, parts, judges, scorer, work, start)
    write_json(path, found.row())
    shutil.rmtree(work, ignore_errors=True)
    return found


def load(recipe: Recipe, name: str) -> LanguageModel:
    """A model as the recipe says."""
    return load_model(name, template=recipe.template, device=recipe.device)


def _scored(
    recipe: Recipe,
    name: str,
    config: UnlearnConfig,
    parts: Split,
    judges: Sequence[Judge],
    scorer: Scorer,
    work: Path,
    start: float,
) -> Cell:
    lm = load(recipe, recipe.model)
    target = work / ("adapter" if config.lora_rank else "model")
    shutil.rmtree(target, ignore_errors=True)  # trained, but killed before it was scored
    try:
        done = unlearn(lm, parts, work, judges=judges, config=config)
    except DivergedError as error:
        return Cell(name, config.seed, None, error.message, "diverged", 0, 0, round(time.monotonic() - start, 1))
    seconds = round(time.monotonic() - start, 1)
    score = scorer.score(load(recipe, str(done.path)))
    return Cell(name, config.seed, score, "", done.outcome, done.steps, done.tokens, seconds)


def _ends(recipe: Recipe, oracle: LanguageModel | None, rate: float | None) -> list[tuple[str, LanguageModel]]:
    found = [(f"original-{rate}", load(recipe, recipe.model))]
    return [*found, (f"oracle-{rate}", oracle)] if oracle else found


def _kept(path: Path, scorer: Scorer, lm: LanguageModel) -> Score:
    if not path.exists():
        make_folder(path.parent)
        write_json(path, asdict(scorer.score(lm)))
    return Score(**json.loads(read_text(path)))
