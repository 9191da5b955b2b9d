"""The search for settings: what is searched, what is asked for next, what is picked, and the command."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_line import code_of
from expunge.cli import tune as command
from expunge.comparison import compare as cells
from expunge.comparison import tune as module
from expunge.comparison.compare import Cell
from expunge.comparison.entries import BEST, entries
from expunge.comparison.ground import Ground
from expunge.comparison.score import Score, Scorer
from expunge.comparison.space import Dimension, placed, space_of, toml
from expunge.comparison.trials import Trial, leak, objectives, pick, unbeaten
from expunge.comparison.tune import following, tune
from expunge.errors import InputError, MissingExtraError, OutputError
from expunge.files import lock
from expunge.model import load_model
from expunge.objective.methods import METHODS
from expunge.recipe import Recipe, read_recipe
from expunge.training.config import UnlearnConfig

SCORE = Score(0.5, 0.6, None, 1.0, 0.1, None, 0.2, 0.3, 0.0, None, 0.8, 0.7, None)
SPACE = (Dimension("learning_rate", 1e-3, 1e-4, 1e-2), Dimension("max_steps", 8, 1, 8, whole=True))


def trial(score: Score | None, values: Mapping[str, float] | None = None) -> Trial:
    return Trial(values or {}, Cell("npo", 0, score, "" if score else "diverged", "unjudged", 1, 2, 3.0))


def config_of(recipe: Recipe, method: str = "npo") -> UnlearnConfig:
    return replace(entries([method], None, recipe.config)[method], seed=recipe.seed)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rank", [0, 8])
def test_every_method_has_a_space_around_itself(method: str, rank: int) -> None:
    config = UnlearnConfig.of(method, max_steps=80, lora_rank=rank)
    space = {d.name: d for d in space_of(config, 192)}
    rate = 2e-3 * (1 if not rank else 4 if method == "default" else 2)
    found = space["learning_rate"]
    assert (found.low, found.default, found.high) == pytest.approx((rate / 10, rate, rate * 10))
    assert space["max_steps"] == Dimension("max_steps", 80, 10, 80, whole=True)
    assert ("lora_rank" in space) == bool(rank)
    for end in ("low", "default", "high"):
        values = {name: getattr(d, end) for name, d in space.items()}
        made = placed(config, values)
        assert made.learning_rate == values["learning_rate"] and made.max_steps == values["max_steps"]
        for name, value in made.options.items():
            assert values[f"options.{name}"] == value


def test_what_is_searched_by_hand() -> None:
    def names(method: str, **given: Any) -> list[str]:
        return [d.name for d in space_of(UnlearnConfig.of(method, **given), 192)]

    ends = ("learning_rate", "max_steps")
    assert names("npo") == [ends[0], "normal_weight", "options.beta", ends[1]]
    assert names("satimp") == [ends[0], "normal_weight", "options.beta1", "options.beta2", ends[1]]
    assert names("pdu") == [ends[0], "normal_weight", "normal_limit", ends[1]]
    assert names("default") == [ends[0], "positive_weight", "normal_weight", "hidden_weight", ends[1]]
    assert names("grad_ascent") == [*ends], "a single weight only scales the loss"
    assert names("npo", normal_weight=0.0) == [ends[0], "options.beta", ends[1]]
    assert names("grad_ascent", max_steps=1) == [ends[0]], "there is no fewer than one step"


@given(
    values=st.fixed_dictionaries(
        {
            "learning_rate": st.floats(1e-9, 1.0),
            "normal_weight": st.floats(1e-3, 1e3),
            "max_steps": st.integers(1, 10**6),
            "options.beta": st.floats(1e-6, 1e6),
        }
    )
)
def test_what_is_written_is_read_as_it_was(values: dict[str, float], tmp_path_factory: pytest.TempPathFactory) -> None:
    """By `compare --tuned`, and within a recipe."""
    config = placed(UnlearnConfig.of("npo", forget_rows=5, modules=r"\d\.(q|v)_proj", lora_rank=4, dora=True), values)
    folder = tmp_path_factory.mktemp("tuned")
    (folder / BEST).write_text("# told\n" + toml(config))
    assert entries([], None, UnlearnConfig(), tuned=[folder]) == {"npo": config}
    (folder / "recipe.toml").write_text('model = "town"\n[scan]\ndialogues = "a.jsonl"\n' + toml(config))
    assert read_recipe(folder / "recipe.toml").config == config


def test_what_was_found_is_not_filled_in_by_a_recipe_with_another_budget(tmp_path: Path) -> None:
    config = UnlearnConfig.of("npo", max_steps=600)
    (tmp_path / BEST).write_text(toml(config))
    other = UnlearnConfig(max_steps=1000, forget_rows=3, lora_rank=4, dora=True, checkpointing=True, modules="up_proj")
    assert entries([], None, other, tuned=[tmp_path]) == {"npo": config}


@pytest.mark.parametrize("given", [{}, {"ignorance": 1e-4, "forgotten": 0.01}])
def test_an_adapters_own_settings_are_read_as_they_were(given: dict[str, float], tmp_path: Path) -> None:
    """Also where they are those of a model that is trained as a whole."""
    config = UnlearnConfig.of("default", lora_rank=8, **given)
    (tmp_path / BEST).write_text(toml(config))
    assert entries([], None, UnlearnConfig(), tuned=[tmp_path]) == {"default": config}


def test_tuned_methods_stand_beside_others(tmp_path: Path) -> None:
    (tmp_path / BEST).write_text(toml(UnlearnConfig.of("npo", max_steps=90, learning_rate=0.5)))
    found = entries(["rmu"], None, UnlearnConfig(max_steps=50), tuned=[tmp_path], steps=70)
    assert [(name, c.max_steps) for name, c in found.items()] == [("rmu", 50), ("npo", 70)]
    (tmp_path / "own.toml").write_text("[npo]\n")
    with pytest.raises(InputError, match="other settings for 'npo'"):
        entries([], tmp_path / "own.toml", UnlearnConfig(), tuned=[tmp_path])
    with pytest.raises(InputError, match="no best.toml"):
        entries([], None, UnlearnConfig(), tuned=[tmp_path / "nothing"])
    (tmp_path / BEST).write_text("[unlearn]\n")
    with pytest.raises(InputError, match="no method"):
        entries([], None, UnlearnConfig(), tuned=[tmp_path])


def test_the_best_keeps_enough_and_is_the_highest_overall() -> None:
    def score(overall: float, ability: float, near: float | None, relearned: float) -> Trial:
        return trial(replace(SCORE, overall=overall, ability=ability, neighbours=near, relearned=relearned))

    few = [score(0.9, 0.949, None, 0.0), trial(None)]
    before = replace(SCORE, overall=0.2)
    assert pick([], before) is None and pick(few, before) is None
    assert pick([*few, score(0.5, 0.95, None, 0.3), score(0.7, 0.99, None, 0.4), trial(None)], before) == 3
    assert pick([score(0.9, 1.0, 0.94, 0.0), score(0.5, 1.0, 0.95, 0.3)], before) == 1, "neighbours must be kept too"
    equal = [score(0.7, 1.0, 1.0, 0.4), score(0.7, 1.0, 1.0, 0.3), score(0.7, 1.0, 1.0, 0.3)]
    assert pick(equal, before) == 1, "less leaks"
    assert pick([score(0.2, 1.0, 1.0, 0.0)], before) is None, "it has forgotten nothing"


def test_without_halves_the_leak_is_what_is_left() -> None:
    assert leak(SCORE) == 0.3 and leak(replace(SCORE, relearned=None)) == 0.1
    assert objectives(SCORE) == (-0.3, 1.0) and objectives(replace(SCORE, neighbours=0.9)) == (-0.3, 1.0, 0.9)


def test_unbeaten_trials_are_told_by_leak() -> None:
    found = [trial(replace(SCORE, relearned=r, ability=a)) for r, a in ((0.5, 1.0), (0.1, 0.4), (0.5, 0.9), (0.3, 0.8))]
    assert unbeaten([trial(None), *found]) == [2, 4, 1]


def test_what_to_try_next_depends_on_what_was_tried_alone() -> None:
    """The defaults first; then within the ranges, another for another seed; near what is good, once there is enough."""
    tried: list[Trial] = []
    for i in range(24):
        values = following(SPACE, tried, seed=3)
        assert values == following(SPACE, tried, seed=3)
        assert 1e-4 <= values["learning_rate"] <= 1e-2 and values["max_steps"] in range(1, 9)
        good = values["learning_rate"] > 3e-3  # where little leaks; the lowest rates come to nothing
        found = replace(SCORE, relearned=0.1 if good else 0.9, ability=0.9, neighbours=0.9)
        tried.append(trial(None if values["learning_rate"] < 2e-4 else found, values))
        if not i:
            assert values == {"learning_rate": 1e-3, "max_steps": 8}
    assert following(SPACE, tried, seed=3) != following(SPACE, tried, seed=4)
    late = [t.values["learning_rate"] for t in tried[12:]]
    assert sum(rate > 3e-3 for rate in late) >= 9, "at random it would be a quarter"
    assert following(SPACE, [trial(None, SPACE_VALUES)] * 9, seed=0), "also where all came to nothing"


SPACE_VALUES = {"learning_rate": 1e-3, "max_steps": 8}


class Killed(BaseException):
    pass


def test_a_killed_search_goes_on_and_ends_with_the_same_trials(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    what = read_recipe(recipe)
    straight = tune(what, config_of(what), tmp_path / "a", trials=2)
    score, calls = Scorer.score, 0

    def killed(self: Scorer, lm: Any) -> Score:
        nonlocal calls
        calls += 1
        if calls == 3:  # the original, the first trial, and now
            raise Killed
        return score(self, lm)

    with monkeypatch.context() as patch:
        patch.setattr(Scorer, "score", killed)
        with pytest.raises(Killed):
            tune(what, config_of(what), tmp_path / "b", trials=2)
    assert len(json.loads((tmp_path / "b/tuning.json").read_text())["trials"]) == 1
    resumed = tune(what, config_of(what), tmp_path / "b", trials=2)
    assert [(t.values, t.score) for t in resumed.trials] == [(t.values, t.score) for t in straight.trials]
    assert len({t.values["learning_rate"] for t in straight.trials}) == 2
    monkeypatch.setattr(cells, "unlearn", None)
    assert tune(what, config_of(what), tmp_path / "b", trials=1) == resumed, "nothing is done again"
    with pytest.raises(OutputError, match="another method or with other settings, or an older one: "):
        tune(what, config_of(what, "rmu"), tmp_path / "b", trials=2)


@pytest.fixture
def forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every trial has forgotten more than the original, whose score this is."""
    monkeypatch.setattr(module, "model_score", lambda *_: replace(SCORE, overall=0.0))


def test_the_best_settings_are_those_of_the_trial(recipe: Path, tmp_path: Path, forgets: None) -> None:
    what = read_recipe(recipe)
    found = tune(what, config_of(what), tmp_path / "out", trials=2)
    best = found.best_config()
    assert found.best is not None and best == placed(found.config, found.trials[found.best].values)
    assert entries([], None, what.config, tuned=[tmp_path / "out"]) == {"npo": best}
    row = json.loads((tmp_path / "out" / module.RESULT).read_text())
    assert "95%" in row["rule"] and row["best"] == found.best and all(t["tokens"] > 0 for t in row["trials"])


def test_hopeless_trainings_are_given_up(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    what = read_recipe(recipe)
    config = replace(config_of(what), judge_every=1, settle_steps=0, max_steps=4)
    monkeypatch.setattr(Scorer, "ability", lambda *_: 0.49)
    found = tune(what, config, tmp_path / "out", trials=1)
    assert found.trials[0].score is None and found.best is None and found.front == []
    assert found.trials[0].cell.reason == "given up at step 2: ability is 0.49 of the original's"
    assert found.trials[0].cell.outcome == "given up" and not (tmp_path / "out" / BEST).exists()
    assert not list((tmp_path / "out/work").iterdir())


def test_what_was_given_up_is_no_result_for_a_comparison(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    what = read_recipe(recipe)
    config = replace(config_of(what), judge_every=1, settle_steps=0)
    ground = Ground.of(what, tmp_path / "out")
    monkeypatch.setattr(Scorer, "ability", lambda *_: 0.49)
    watch = module._watch(ground, config)
    given_up = cells.cell(ground, "npo", config, watch)
    assert given_up and given_up.score is None and cells.cell(ground, "npo", config, watch) == given_up
    whole = cells.cell(ground, "npo", config)
    assert whole and whole.score and cells.cell(ground, "npo", config, watch) == whole


def test_what_another_version_scored_is_not_taken_over(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    what = read_recipe(recipe)
    tune(what, config_of(what), tmp_path / "out", trials=1)
    for place in (cells, module):
        monkeypatch.setattr(place, "VERSION", "next")
    with pytest.raises(OutputError, match="or an older one"):
        tune(what, config_of(what), tmp_path / "out", trials=1)
    assert len(list((tmp_path / "out/scores").iterdir())) == 2, "the original is scored anew"


def test_ability_of_some_rows_is_that_of_the_score(recipe: Path, tmp_path: Path, lm: Any) -> None:
    """With the original held to be twice as good on the first two of eight rows; of every third row, on one."""
    scorer = Ground.of(read_recipe(recipe), tmp_path / "out").scorer
    assert scorer.ability(lm, 3) == scorer.ability(lm, 8) == 1.0
    now = scorer._ordinary
    scorer._ordinary = [2 * p if i < 2 else p for i, p in enumerate(now)]
    assert (
        scorer.ability(lm, 8)
        == pytest.approx(scorer.score(lm).ability)
        == pytest.approx(sum(now) / sum(scorer._ordinary))
    )
    some = [0, 3, 6]
    assert scorer.ability(lm, 3) == pytest.approx(sum(now[i] for i in some) / (sum(now[i] for i in some) + now[0]))


def test_ability_of_broken_weights_is_no_number(recipe: Path, tmp_path: Path, tiny: Path) -> None:
    scorer = Ground.of(read_recipe(recipe), tmp_path / "out").scorer
    broken = load_model(tiny)
    broken.model.lm_head.weight.data.fill_(math.nan)
    assert math.isnan(scorer.ability(broken, 8))


def test_two_searches_in_one_folder_are_refused(recipe: Path, tmp_path: Path) -> None:
    what = read_recipe(recipe)
    Ground.of(what, tmp_path / "out")
    with (tmp_path / "out/tuning.lock").open("a") as held:
        assert lock(held.fileno())
        with pytest.raises(OutputError, match="another process"):
            tune(what, config_of(what), tmp_path / "out", trials=1)


def test_without_optuna_the_extra_is_named(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    what = read_recipe(recipe)
    with pytest.raises(MissingExtraError, match="expunge\\[tune\\]") as caught:
        tune(what, config_of(what), tmp_path / "out", trials=1)
    assert caught.value.exit_code == 2 and not (tmp_path / "out").exists()


def test_a_taken_trial_that_is_beaten_is_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By leak and ability, not overall."""
    best, other = replace(SCORE, overall=0.9, relearned=0.4), replace(SCORE, overall=0.5, relearned=0.3)
    for trials, said in (
        ([trial(best), trial(other)], "the taken one is beaten, but not overall:"),
        ([trial(best)], "no other trial beats these:"),
    ):
        found = module.Tuning(UnlearnConfig.of("npo"), SPACE, {}, replace(SCORE, overall=0.0), tuple(trials))
        command._print(found, tmp_path)
        told = capsys.readouterr().out
        assert said in told and "→ 0" in told


def test_the_command(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], forgets: None
) -> None:
    words = ("tune", recipe, "--method", "npo", "--trials", "1", "--seed", "5")
    assert code_of(*words, "--out", tmp_path / "good") == 0
    told = capsys.readouterr().out
    assert "Taken: trial 0" in told and "best.toml" in told and "learning_rate" in told
    assert json.loads((tmp_path / "good/tuning.json").read_text())["seed"] == 5
    score = Scorer.score
    monkeypatch.setattr(Scorer, "score", lambda self, lm: replace(score(self, lm), ability=0.94))
    assert code_of(*words, "--out", tmp_path / "bad") == 1
    assert "No acceptable point" in capsys.readouterr().out and not (tmp_path / "bad" / BEST).exists()
    assert code_of(*words, "--out", tmp_path / "bad", "--json") == 1
    assert json.loads(capsys.readouterr().out)["best"] is None
    for wrong, said in ((("--method", "npoo"), "Did you mean 'npo'"), (("--method", "npo", "--trials", "0"), "trials")):
        assert code_of("tune", recipe, *wrong, "--out", tmp_path / "x") == 2
        assert said in capsys.readouterr().err and not (tmp_path / "x").exists()
