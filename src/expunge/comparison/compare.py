"""Many methods on one split, each with several seeds: every cell is trained and scored once, and kept."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from expunge.comparison.ground import Ground
from expunge.comparison.score import Score
from expunge.errors import ExpungeError, InputError, MissingExtraError, OutputError, UnansweredError, place_of
from expunge.files import digest, lock, make_folder, read_text, write_json
from expunge.model import LanguageModel
from expunge.progress import Progress, Quiet
from expunge.recipe import Recipe
from expunge.steps import WORK
from expunge.training.active import DivergedError
from expunge.training.config import UnlearnConfig
from expunge.training.unlearn import unlearn

VERSION = "2"
"""Of the score: what an older one took is not taken over."""
GIVEN_UP = "given up"
FAILED = "failed"
"""A fault of ours, or no memory left: told in its row, and tried again by the next call."""
NOBODYS = (MissingExtraError, OutputError, UnansweredError)
"""Faults that no setting is to blame for. They stop a comparison, and the same command goes on."""

Watch = Callable[[LanguageModel, Mapping[str, Any]], None]
"""What is called, each time that a training is judged, with the model and what was found; may raise `GivenUpError`."""


class GivenUpError(ExpungeError):
    """A training that was stopped, since nothing can come of it."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One training and its score.

    name: the method, or what its settings are called. score: None where the training came to nothing, and `reason`
        says why.
    outcome, steps, tokens: see `training.unlearn.Unlearned`. seconds: of the training, with loading; of all parts of
        one that was killed.
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

    Several processes may share the folder; each cell is done by one of them. relearn_rate: see `Scorer`.

    Raises:
        InputError, OutputError: as `Ground.of`.
    """
    progress = progress or Quiet()
    ground = Ground.of(recipe, out, relearn_rate=relearn_rate, allow_remote=allow_remote, progress=progress)
    wanted = [(name, replace(config, seed=seed)) for name, config in methods.items() for seed in range(seeds)]
    found: dict[int, Cell] = {}
    with progress.stage("Comparing", len(wanted)) as advance:
        while len(found) < len(wanted):
            before = len(found)
            for i, (name, config) in enumerate(wanted):
                if i not in found and (done := cell(ground, name, config)):
                    found[i] = done
                    advance(1)
            if len(found) == before:
                time.sleep(1.0)  # all that is left is being done by others
    oracle = model_score(ground, "oracle", recipe.oracle) if recipe.oracle else None
    original = model_score(ground, "original", recipe.model)
    return Comparison(tuple(found[i] for i in range(len(wanted))), original, oracle)


def cell(ground: Ground, name: str, config: UnlearnConfig, watch: Watch | None = None) -> Cell | None:
    """One cell: as kept, or trained (or trained on) and scored now. Its weights are not kept.

    None: another process is at it.
    """
    key = digest(json.dumps([VERSION, ground.scorer.key, asdict(config)], sort_keys=True))[:16]
    path = make_folder(ground.out / "cells") / f"{key}.json"
    if found := _kept(path, name, watch):
        return found
    work = make_folder(ground.out / WORK / key)
    try:
        mark = (work / "lock").open("a")
    except FileNotFoundError:  # another process is just done, and has removed the folder
        return None
    with mark:
        if not lock(mark.fileno()):
            return None
        found = _kept(path, name, watch)  # another process was at it, and is done
        if not found:
            found = _done(ground, name, config, work, watch)
            if found.outcome != FAILED:
                write_json(path, found.row())
        shutil.rmtree(work, ignore_errors=True)
    return found


def model_score(ground: Ground, what: str, name: str) -> Score:
    """Of a model as it is, kept by `what` it is."""
    path = ground.out / "scores" / f"{what}-{VERSION}-{ground.relearn_rate}.json"
    if not path.exists():
        write_json(path, asdict(ground.scorer.score(ground.recipe.load(name))))
    return Score(**json.loads(read_text(path)))


def _kept(path: Path, name: str, watch: Watch | None) -> Cell | None:
    """The cell in this file, if any. One that a watch gave up is none for those who watch nothing."""
    if not path.exists():
        return None
    found = replace(Cell.of(json.loads(read_text(path))), name=name)
    return None if found.outcome == GIVEN_UP and watch is None else found


def _done(ground: Ground, name: str, config: UnlearnConfig, work: Path, watch: Watch | None) -> Cell:
    """A cell, made now.

    Raises:
        MissingExtraError, OutputError, UnansweredError: see `NOBODYS`. With a watch also what else is none of the
            training's own ends.
    """
    start, reached = time.monotonic(), 0

    def noted(lm: LanguageModel, entry: Mapping[str, Any]) -> None:
        nonlocal reached
        reached = entry["step"]
        if watch:
            watch(lm, entry)

    try:
        return _trained(ground, name, config, work, noted)
    except NOBODYS:
        raise
    except DivergedError as error:
        outcome, reason, steps = "diverged", error.message, reached
    except GivenUpError as error:
        outcome, reason, steps = GIVEN_UP, error.message, 0
    except InputError as error:
        if watch:
            raise
        outcome, reason, steps = "refused", error.message, 0
    except Exception as error:
        if watch or os.environ.get("EXPUNGE_DEBUG"):
            raise
        outcome, reason, steps = FAILED, f"internal error: {type(error).__name__} at {place_of(error)}", 0
    return Cell(name, config.seed, None, reason, outcome, steps, 0, round(time.monotonic() - start, 1))


def _trained(ground: Ground, name: str, config: UnlearnConfig, work: Path, watch: Watch) -> Cell:
    start = time.monotonic()
    lm = ground.recipe.load(ground.recipe.model, bits=config.base_bits)
    shutil.rmtree(work / config.result, ignore_errors=True)  # killed before its score
    done = unlearn(lm, ground.parts, work, judges=ground.judges, config=config, on_round=partial(watch, lm))
    seconds = max(round(time.monotonic() - start, 1), done.seconds)
    try:
        score = ground.scorer.score(ground.recipe.load(str(done.path)))
    except NOBODYS:
        raise
    except InputError:
        score = None
    if not score or not all(math.isfinite(value) for value in asdict(score).values() if value is not None):
        reason = "what the model says is not finite after the last step"
        return Cell(name, config.seed, None, reason, "diverged", done.steps, done.tokens, seconds)
    return Cell(name, config.seed, score, "", done.outcome, done.steps, done.tokens, seconds)
