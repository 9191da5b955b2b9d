"""Settings of a method, searched for on one's own dialogues: little leaks, and what was to be kept is kept."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from expunge.comparison.compare import VERSION, GivenUpError, Watch, cell, model_score
from expunge.comparison.entries import BEST
from expunge.comparison.ground import Ground
from expunge.comparison.score import Score
from expunge.comparison.space import Dimension, placed, space_of, toml
from expunge.comparison.trials import RULE, Trial, leak, objectives, pick, unbeaten
from expunge.differences import differences, in_one_line
from expunge.errors import MissingExtraError, OutputError
from expunge.files import digest, lock, read_text, write_json, write_text
from expunge.model import LanguageModel
from expunge.progress import Progress, Quiet
from expunge.recipe import Recipe
from expunge.training.config import UnlearnConfig

RESULT = "tuning.json"
STARTUP = 8
"""Trials that are drawn at random, before the sampler learns from them."""
HOPELESS = 0.5
"""Ability below which a training is given up from the middle of its steps on."""
ASKED = 64
"""Ordinary rows on which that is asked."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """A search around `config`: what was tried, in order.

    original: the score of the untouched model. about: what the search depends on, for JSON.
    """

    config: UnlearnConfig
    space: tuple[Dimension, ...]
    about: Mapping[str, Any]
    original: Score
    trials: tuple[Trial, ...] = ()

    @property
    def best(self) -> int | None:
        """The place of the trial that is taken; None: none is acceptable."""
        return pick(self.trials, self.original)

    @property
    def front(self) -> list[int]:
        """Places of the trials that no other beats."""
        return unbeaten(self.trials)

    def best_config(self) -> UnlearnConfig | None:
        """The settings of the best."""
        return None if self.best is None else placed(self.config, self.trials[self.best].values)

    def row(self) -> dict[str, Any]:
        """For JSON."""
        found = {**self.about, "original": asdict(self.original), "rule": RULE, "best": self.best, "front": self.front}
        return {**found, "trials": [trial.row() for trial in self.trials]}


def tune(
    recipe: Recipe,
    config: UnlearnConfig,
    out: Path,
    *,
    trials: int = 20,
    relearn_rate: float | None = None,
    allow_remote: bool = False,
    progress: Progress | None = None,
) -> Tuning:
    """Search around `config`, which is the first trial, in the folder `out`; the recipe's seed is that of all draws.

    Killed, the same call goes on and ends with the same trials; with more `trials` it adds to those there are.

    Raises:
        InputError, OutputError: as `Ground.of`. OutputError: `out` holds another search. MissingExtraError: no Optuna.
    """
    progress = progress or Quiet()
    _optuna()
    ground = Ground.of(recipe, out, relearn_rate=relearn_rate, allow_remote=allow_remote, progress=progress)
    space = space_of(config, ground.width)
    about = {
        "method": config.method, "around": asdict(config), "space": [asdict(d) for d in space], "seed": recipe.seed,
        "relearn_rate": relearn_rate, "version": VERSION,
    }  # fmt: skip
    original = model_score(ground, "original", recipe.model)
    with _alone(out), progress.stage("Tuning", trials) as advance:
        tried = _tried(out / RESULT, about)
        advance(min(trials, len(tried)))
        while len(tried) < trials:
            values = following(space, tried, recipe.seed)
            wanted = placed(config, values)
            while not (done := cell(ground, config.method, wanted, _watch(ground, wanted))):
                time.sleep(1.0)  # a comparison in this folder is at it
            tried.append(Trial(values, done))
            write_json(out / RESULT, Tuning(config, space, about, original, tuple(tried)).row())
            advance(1)
    found = Tuning(config, space, about, original, tuple(tried))
    if best := found.best_config():
        write_text(out / BEST, _told(found) + toml(best))
    return found


def following(space: Sequence[Dimension], tried: Sequence[Trial], seed: int) -> dict[str, float]:
    """What to try after `tried`, a function of its arguments alone: a search that was killed draws the same again.

    First what the dimensions have as their default, then what Optuna's tree-structured Parzen estimator asks for, over
    all objectives at once (Ozaki et al., JAIR 2022). Trials without a score count as worse than all others.
    """
    if not tried:
        return {dimension.name: dimension.default for dimension in space}
    optuna = _optuna()
    own = int(digest(f"{seed} {len(tried)}")[:8], 16)
    count = max((len(objectives(trial.score)) for trial in tried if trial.score), default=2)
    study = optuna.create_study(
        directions=["maximize"] * count, sampler=optuna.samplers.TPESampler(seed=own, n_startup_trials=STARTUP)
    )
    ranges = {d.name: _range(optuna, d) for d in space}
    for trial in tried:
        state = "COMPLETE" if trial.score else "PRUNED"
        study.add_trial(
            optuna.trial.create_trial(
                params=dict(trial.values),
                distributions=ranges,
                values=objectives(trial.score) if trial.score else None,
                state=optuna.trial.TrialState[state],
            )
        )
    return dict(study.ask(ranges).params)


def _range(optuna: Any, dimension: Dimension) -> Any:
    if dimension.whole:
        return optuna.distributions.IntDistribution(int(dimension.low), int(dimension.high), log=True)
    return optuna.distributions.FloatDistribution(dimension.low, dimension.high, log=True)


def _watch(ground: Ground, config: UnlearnConfig) -> Watch:
    def watch(lm: LanguageModel, entry: Mapping[str, Any]) -> None:
        if 2 * entry["step"] >= config.max_steps:
            ability = ground.scorer.ability(lm, ASKED)
            if not ability >= HOPELESS:  # nor where it is no number
                raise GivenUpError(f"given up at step {entry['step']}: ability is {ability:.2f} of the original's")

    return watch


def _tried(path: Path, about: Mapping[str, Any]) -> list[Trial]:
    """The trials that are there already."""
    if not path.exists():
        return []
    kept = json.loads(read_text(path))
    others = differences({name: kept[name] for name in about if name in kept}, about)
    if others:
        what = "this folder holds a search for another method or with other settings, or an older one"
        remedy = "Put that back to go on, or choose another --out."
        raise OutputError(f"{what}: {in_one_line([*others.values()])}", file=path, remedy=remedy)
    return [Trial.of(row) for row in kept["trials"]]


def _told(found: Tuning) -> str:
    assert found.best is not None
    score = found.trials[found.best].score
    assert score is not None
    figures = f"overall {score.overall:.3f}, ability {score.ability:.3f}, leak {leak(score):.3f}"
    return (
        f"# By expunge tune: trial {found.best} of {len(found.trials)}, with seed {found.about['seed']}: {figures}.\n"
    )


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    with (out / "tuning.lock").open("a") as mark:
        if not lock(mark.fileno()):
            raise OutputError("another process is tuning in this folder", file=out, remedy="Choose another --out.")
        yield


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise MissingExtraError("optuna", "tune", "searching for settings") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
