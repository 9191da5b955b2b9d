"""Recipes are read strictly; a run's folder belongs to one recipe and one input."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from expunge import demo
from expunge.errors import InputError, OutputError
from expunge.manifest import Manifest
from expunge.recipe import Recipe, read_recipe

ROOT = Path(__file__).parent.parent
SHIPPED = [demo.RECIPE, *sorted((ROOT / "examples").glob("*.toml"))]
SMALL = 'model = "m"\n[scan]\ndialogues = "d.jsonl"\n'


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.name)
def test_every_shipped_recipe_is_read(path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe.model and recipe.dialogues


def test_the_demos_files_are_there() -> None:
    recipe = read_recipe(demo.RECIPE)
    for name in (*recipe.dialogues, *recipe.normal, *recipe.unseen, *recipe.ability, *recipe.neighbours):
        assert Path(name).is_file(), name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model = ", "not valid TOML"),
        ('model = "m"\n', "'dialogues' is missing"),
        ('[scan]\ndialogues = "d"\n', "'model' is missing"),
        (SMALL + 'judge = ["privacy"]\n', r"unknown key 'judge' in \[scan\]. Did you mean 'judges'"),
        (SMALL + "[unlern]\n", r"unknown table \[unlern\]. Did you mean 'unlearn'"),
        (SMALL + 'samples = "3"\n', "'samples' must be a whole number"),
        (SMALL + "judges = []\n", "must be a list of texts, not empty"),
        (SMALL + '[unlearn]\nlearning_rate = "fast"\n', "'learning_rate' must be a number"),
        (SMALL + "[unlearn]\nmax_steps = 0\n", "max_steps = 0: must be at least 1"),
        (SMALL + 'label = "bad"\n', "unknown label 'bad'"),
    ],
)
def test_a_wrong_recipe_is_one_message(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_recipe(path)


def test_paths_are_beside_the_recipe_and_variables_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "d.jsonl").write_text("")
    (tmp_path / "f.jsonl").write_text("")
    monkeypatch.setenv("HERE", str(tmp_path))
    path = tmp_path / "r.toml"
    text = 'model = "org/m"\n[scan]\ndialogues = ["d.jsonl[2:3]", "$HERE/d.jsonl"]\n'
    text += 'judges = ["facts=f.jsonl", "privacy"]\n'
    path.write_text(text + "[unlearn]\nlearning_rate = 1\n")
    recipe = read_recipe(path, seed=7)
    assert recipe.dialogues == (f"{tmp_path}/d.jsonl[2:3]", f"{tmp_path}/d.jsonl")
    assert recipe.judges == (f"facts={tmp_path}/f.jsonl", "privacy") and recipe.model == "org/m"
    assert recipe.config.learning_rate == 1.0 and recipe.seed == recipe.config.seed == 7
    assert set(recipe.files()) == {f"{tmp_path}/d.jsonl", f"{tmp_path}/f.jsonl"}
    assert Recipe.of(json.loads(json.dumps(dataclasses.asdict(recipe)))) == recipe


def test_a_folder_belongs_to_one_run(tmp_path: Path) -> None:
    data = tmp_path / "d.jsonl"
    data.write_text("1")
    recipe, out = Recipe("m", (str(data),)), tmp_path / "out"
    manifest = Manifest.begin(out, recipe)
    manifest.add("scan", {"dialogues": 3})
    assert Manifest.begin(out, recipe).read()["steps"] == {"scan": {"dialogues": 3}}
    with pytest.raises(OutputError, match="a run with another recipe"):
        Manifest.begin(out, dataclasses.replace(recipe, seed=1))
    data.write_text("2")
    with pytest.raises(OutputError, match="a run with another input"):
        Manifest.begin(out, recipe)
    data.write_text("1")
    manifest.finish()
    with pytest.raises(OutputError, match="this run is complete"):
        Manifest.begin(out, recipe)
    with pytest.raises(OutputError, match="not empty, and holds no run"):
        Manifest.begin(tmp_path, recipe)
