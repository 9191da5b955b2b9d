"""Recipes and manifests: what a run is, and what keeps two runs out of one folder."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from expunge import demo
from expunge.audit.thresholds import Thresholds
from expunge.errors import InputError, OutputError
from expunge.manifest import NAME, Manifest
from expunge.recipe import TABLES, Recipe, check_label, read_recipe

ROOT = Path(__file__).parents[1]
SHIPPED = [demo.RECIPE, ROOT / "bench" / "tofu.toml", *sorted((ROOT / "examples").glob("**/*.toml"))]
LEAST = 'model = "m"\n[scan]\ndialogues = "log.jsonl"\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.parent.name + "/" + p.name)
def test_every_shipped_recipe_reads_and_comes_back_from_json(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MODELS", "TOFU"):
        monkeypatch.setenv(name, "somewhere")
    recipe = read_recipe(path)
    assert Recipe.of(json.loads(json.dumps(dataclasses.asdict(recipe)))) == recipe


def test_the_demos_files_are_all_there() -> None:
    recipe = read_recipe(demo.RECIPE)
    named = [*recipe.dialogues, *recipe.normal, *recipe.unseen, *recipe.ability, *recipe.neighbours]
    named += [*recipe.holdout, *recipe.lookalikes]
    assert len(named) == 7 and set(named) <= set(recipe.files())


def test_the_least_recipe(tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path, LEAST))
    assert (recipe.model, recipe.dialogues, recipe.judges, recipe.label) == ("m", ("log.jsonl",), (), "privacy")
    assert read_recipe(written(tmp_path, LEAST), seed=5).config.seed == 5
    whole = read_recipe(written(tmp_path, LEAST + "[unlearn]\nlearning_rate = 1"))
    assert type(whole.config.learning_rate) is float


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"'model' is missing.*Add it\."),
        ('model = "m"', r"'dialogues' is missing.*\[scan\]"),
        ("model = ", r"not valid TOML: "),
        ("a = " + "[" * 5000, r"not valid TOML"),
        ("seed = " + "9" * 5000, r"not valid TOML: a number too long"),
        (LEAST + "[unlearn]\nlearning_rate = 1" + "0" * 400, r"not valid TOML: a number too long"),
        (LEAST + "[audit]\nsamples = 1" + "0" * 400, r"not valid TOML: a number too long"),
        ('modle = "m"', r"unknown key 'modle'\. Did you mean 'model'\?.*Known: device, model, seed, template"),
        (LEAST + 'judge = ["privacy"]', r"unknown key 'judge' in \[scan\]\. Did you mean 'judges'\?"),
        (LEAST + "[unlern]\nx = 1", r"unknown table \[unlern\]\. Did you mean 'unlearn'\?"),
        (LEAST + "[unlearn]\nmaxsteps = 1", r"Did you mean 'max_steps'\?"),
        (LEAST + "[unlearn]\nseed = 1", r"unknown key 'seed' in \[unlearn\]"),
        (LEAST + "[[audit]]\nsamples = 1", r"'audit' must be a table"),
        ("scan = 1", r"'scan' must be a table"),
        ('[""]\nmodel = "m"', r"unknown table \[\]"),
        (LEAST + "[audit]\nthresholds = 1", r"'thresholds' must be a table.*\[audit\.thresholds\]"),
        (
            LEAST + "[audit.thresholds]\nleek = 0.1",
            r"unknown key 'leek' in \[audit\.thresholds\]\. Did you mean 'leak'\?",
        ),
        (LEAST + "[audit.thresholds]\nleak = 5", r"threshold leak = 5\.0: must lie between 0 and 1.*0\.05 is 5 %"),
        (LEAST + '[audit.thresholds]\nleak = "5 %"', r"'leak' must be a number, not str"),
        (LEAST + "[unlearn]\nmax_steps = 1.5", r"'max_steps' must be a whole number, not float"),
        (LEAST + "[unlearn]\nmax_steps = true", r"'max_steps' must be a whole number, not bool"),
        (LEAST + '[unlearn]\nignorance = "low"', r"'ignorance' must be a number, not str"),
        (LEAST + "[unlearn]\nnormal = []", r"'normal' must be a list of texts, not empty"),
        (LEAST + '[unlearn]\nnormal = ["a", 1]', r"'normal' must be a list of texts"),
        (LEAST + "[unlearn]\nnormal = 1", r"'normal' must be a text or a list of texts, not int"),
        ('model = ""\n[scan]\ndialogues = "x"', r"'model' is empty"),
        ('model = "m"\n[scan]\ndialogues = [" "]', r"'dialogues' is empty"),
        (LEAST + 'label = "privat"', r"unknown label 'privat'\. Did you mean 'privacy'\?.*Known: harmful"),
        (LEAST + 'label = "clean"', r"unknown label 'clean'"),
        (LEAST + 'samples = "3"', r"'samples' must be a whole number, not str"),
        (LEAST + "samples = -1", r"'samples' must not be negative"),
        (LEAST + "samples = 999999999", r"'samples' must be at most 10000"),
        ("seed = -1\n" + LEAST, r"'seed' must not be negative"),
        (f"seed = {2**32}\n" + LEAST, r"'seed' must be less than"),
        (LEAST + "[unlearn]\nmax_steps = 0", r"max_steps = 0: must be at least 1"),
        (LEAST + "[unlearn]\nignorance = 0.5", r"ignorance = 0\.5: must not exceed"),
        (LEAST + "[unlearn]\nnormal_budget = inf", r"'normal_budget' must be finite"),
        (LEAST + "[unlearn]\nlearning_rate = nan", r"'learning_rate' must be finite"),
        (LEAST + "[unlearn]\nlearning_rate = -1e-3", r"learning_rate = -0\.001: must be positive"),
    ],
)
def test_a_wrong_recipe_is_named_with_its_remedy(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"(?s)recipe\.toml: .*{message}"):
        read_recipe(written(tmp_path, text))


def test_thresholds_are_the_defaults_but_for_those_given(tmp_path: Path) -> None:
    recipe = read_recipe(
        written(tmp_path, LEAST + "[audit]\nsamples = 3\n[audit.thresholds]\nleak = 0.02\nability = 1\n")
    )
    assert recipe.thresholds == Thresholds(leak=0.02, ability=1.0) and recipe.audit_samples == 3
    assert Recipe.of(json.loads(json.dumps(dataclasses.asdict(recipe)))) == recipe


def test_a_recipe_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_recipe(tmp_path / "no.toml")


def test_paths_beside_the_recipe_and_names_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHERE", str(tmp_path / "in"))
    (tmp_path / "in").mkdir()
    for name in ("log.jsonl", "in/n.jsonl", "reg.jsonl", "t.jinja", "in/a[1].jsonl"):
        (tmp_path / name).write_text("x")
    recipe = read_recipe(
        written(
            tmp_path,
            'model = "org/name"\ntemplate = "t.jinja"\n'
            '[scan]\ndialogues = ["log.jsonl[0:5]", "hub/data", "in/a[1].jsonl"]\n'
            'judges = ["privacy=reg.jsonl", "facts", "own.py:J"]\n'
            '[unlearn]\nnormal = "${WHERE}/n.jsonl"\nexpected = "sampled"\n',
        )
    )
    assert recipe.dialogues == (f"{tmp_path}/log.jsonl[0:5]", "hub/data", f"{tmp_path}/in/a[1].jsonl")
    assert recipe.judges == (f"privacy={tmp_path}/reg.jsonl", "facts", "own.py:J")
    assert recipe.normal == (f"{tmp_path}/in/n.jsonl",)
    assert (recipe.model, recipe.expected, recipe.template) == ("org/name", "sampled", f"{tmp_path}/t.jinja")
    named = ("in/a[1].jsonl", "in/n.jsonl", "log.jsonl", "reg.jsonl", "t.jinja")
    assert recipe.files() == sorted(str(tmp_path / name) for name in named)


def test_a_judge_of_ones_own_lies_beside_the_recipe_and_is_part_of_the_input(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("")
    recipe = read_recipe(written(tmp_path, LEAST + 'judges = "own.py:Judge"'))
    assert recipe.judges == (f"{tmp_path}/own.py:Judge",) and recipe.files() == [str(tmp_path / "own.py")]


def test_a_variable_that_is_not_set_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EXPUNGE_NOT_SET", raising=False)
    with pytest.raises(InputError, match=r"recipe\.toml: .*\$EXPUNGE_NOT_SET is not set"):
        read_recipe(written(tmp_path, 'model = "$EXPUNGE_NOT_SET/m"\n[scan]\ndialogues = "x"'))


def test_home_is_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    given = 'model = "~/m"\n[scan]\ndialogues = "~/x"\njudges = "registry=~/r.jsonl"'
    recipe = read_recipe(written(tmp_path, given))
    assert (recipe.model, *recipe.dialogues) == (f"{tmp_path}/home/m", f"{tmp_path}/home/x")
    assert recipe.judges == (f"registry={tmp_path}/home/r.jsonl",)


def test_a_template_as_text_stays_as_it_is(tmp_path: Path) -> None:
    text = "{% for m in messages %}$HOME ${HOME} {{ m.content }}{% endfor %}"
    recipe = read_recipe(written(tmp_path, f"template = '{text}'\n" + LEAST))
    assert recipe.template == text and recipe.files() == []


def test_every_key_is_a_field() -> None:
    fields = {f.name for f in dataclasses.fields(Recipe)}
    for table, keys in TABLES.items():
        assert all(key in fields or f"{table}_{key}" in fields for key in keys)


def test_labels() -> None:
    assert check_label("harmful") == "harmful"
    with pytest.raises(InputError, match="(?s)'harm'.*'harmful'.*Known"):
        check_label("harm")


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    (tmp_path / "log.jsonl").write_text("1")
    return Recipe("m", (str(tmp_path / "log.jsonl"),))


def test_a_run_is_claimed_and_gone_on_with(tmp_path: Path, recipe: Recipe) -> None:
    first = Manifest.begin(tmp_path / "run", recipe)
    first.add("scan", {"dialogues": 1})
    again = Manifest.begin(tmp_path / "run", recipe)
    assert again.read()["steps"] == {"scan": {"dialogues": 1}} and again.recipe() == recipe
    assert {"expunge", "python", "torch"} <= again.read()["versions"].keys()
    again.finish()
    for result in ("adapter", "report.html"):
        (tmp_path / "run" / result).touch()
        with pytest.raises(OutputError, match=f"(?s)complete.*run/{result}\\."):
            Manifest.begin(tmp_path / "run", recipe)


def test_what_kills_left_half_written_is_in_nobodys_way_and_goes(tmp_path: Path, recipe: Recipe) -> None:
    """A folder was refused for ever if the run had been killed while it wrote its first manifest."""
    run = tmp_path / "run"
    (run / "split").mkdir(parents=True)
    torn = run / "split" / ".forget.jsonl.x1.part"
    with pytest.raises(OutputError, match="holds no run"):
        Manifest.begin(run, recipe)
    torn.parent.rmdir()
    (run / f".{NAME}.x1.part").write_text("{")
    manifest = Manifest.begin(run, recipe)
    torn.parent.mkdir()
    torn.write_text("private")
    manifest.finish()
    assert {path.name for path in run.rglob("*")} == {NAME, "split"}


def test_another_run_is_refused_and_nothing_overwritten(tmp_path: Path, recipe: Recipe) -> None:
    run = tmp_path / "run"
    Manifest.begin(run, recipe).add("scan", {})
    before = (run / NAME).read_bytes()
    with pytest.raises(OutputError, match="(?s)another recipe.*--out"):
        Manifest.begin(run, dataclasses.replace(recipe, seed=1))
    (tmp_path / "log.jsonl").write_text("2")
    with pytest.raises(OutputError, match="(?s)another input.*--out"):
        Manifest.begin(run, recipe)
    assert (run / NAME).read_bytes() == before


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"name": "a web app", "icons": []}', "\ufeff1"])
def test_somebody_elses_folder_is_left_alone(tmp_path: Path, recipe: Recipe, content: str) -> None:
    path = tmp_path / "web" / NAME
    path.parent.mkdir()
    path.write_text(content, encoding="utf-8")
    with pytest.raises(OutputError, match="(?s)holds no run.*--out"):
        Manifest.begin(path.parent, recipe)
    assert path.read_text(encoding="utf-8") == content


def test_a_folder_with_files_a_file_and_a_place_below_a_file(tmp_path: Path, recipe: Recipe) -> None:
    for out, message in ((tmp_path, "holds no run"), (tmp_path / "log.jsonl", ""), (tmp_path / "log.jsonl" / "x", "")):
        with pytest.raises(OutputError, match=rf"(?s){message}.*--out"):
            Manifest.begin(out, recipe)
    (tmp_path / "empty").mkdir()
    Manifest.begin(tmp_path / "empty", recipe)


def test_a_manifest_of_another_version_is_an_input_error(tmp_path: Path, recipe: Recipe) -> None:
    manifest = Manifest.begin(tmp_path / "run", recipe)
    content = manifest.read()
    content["recipe"]["forgotten_field"] = 1
    (tmp_path / "run" / NAME).write_text(json.dumps(content))
    with pytest.raises(InputError, match="another version"):
        manifest.recipe()
