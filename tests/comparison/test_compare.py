"""Methods side by side: cells kept by content, the table, the page, the command."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from command_line import told
from expunge.cli import compare as command
from expunge.comparison import compare as module
from expunge.comparison.compare import Cell, Comparison, cell, compare
from expunge.comparison.entries import entries
from expunge.comparison.ground import Ground, _same_models
from expunge.comparison.page import page
from expunge.comparison.score import Score, Scorer
from expunge.comparison.table import front, rows
from expunge.dialogue import Dialogue
from expunge.errors import InputError, MissingExtraError, OutputError, UnansweredError
from expunge.files import lock, make_folder
from expunge.judges.verdict import Verdict
from expunge.manifest import alone
from expunge.recipe import read_recipe
from expunge.training.config import UnlearnConfig
from expunge.training.unlearn import unlearn

SCORE = Score(0.5, 0.6, None, 0.9, 0.1, None, 0.2, 0.3, 0.0, None, 0.8, 0.7, None)


def test_each_cell_is_done_once(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    what = read_recipe(recipe)
    chosen = entries(["npo", "rmu"], None, what.config)
    found = compare(what, chosen, tmp_path / "out", seeds=2)
    assert [(cell.name, cell.seed) for cell in found.cells] == [("npo", 0), ("npo", 1), ("rmu", 0), ("rmu", 1)]
    assert all(cell.score and cell.steps == 2 and cell.tokens > 0 for cell in found.cells)
    assert not list((tmp_path / "out" / "work").iterdir()), "weights are not kept"
    monkeypatch.setattr(module, "unlearn", None)
    again = compare(what, chosen, tmp_path / "out", seeds=2)
    assert again == found
    other = compare(what, {"npo": replace(chosen["npo"], learning_rate=1e-5)}, tmp_path / "out", seeds=1)
    assert "TypeError" in other.cells[0].reason  # another rate is another cell, and `unlearn` is called for it


def test_a_killed_comparison_goes_on(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    what = read_recipe(recipe)
    chosen = entries(["npo"], None, what.config)
    straight = compare(what, chosen, tmp_path / "a", seeds=1)

    class Killed(BaseException):
        pass

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Scorer, "score", killed)  # trained, not scored
        with pytest.raises(Killed):
            compare(what, chosen, tmp_path / "b", seeds=1)
    (path,) = (tmp_path / "b").glob("work/*/checkpoints/*/trainer_state.json")
    state = json.loads(path.read_text())
    state["stateful_callbacks"]["ActiveSet"]["attributes"]["seconds"] += 1000
    path.write_text(json.dumps(state))
    (resumed,) = compare(what, chosen, tmp_path / "b", seeds=1).cells
    assert resumed.score == straight.cells[0].score
    assert straight.cells[0].seconds < 1000 < resumed.seconds, "that of the part before as well"


def test_broken_weights_are_a_row_and_no_crash(recipe: Path, tmp_path: Path) -> None:
    what = read_recipe(recipe)
    config = UnlearnConfig.of("grad_ascent", max_steps=2, learning_rate=1e30, warmup_steps=0)
    found = compare(
        what, {"ascent": config, "npo": entries(["npo"], None, what.config)["npo"]}, tmp_path / "out", seeds=1
    )
    assert [row.name for row in rows(found)] == ["npo", "ascent"]
    assert found.cells[0].score is None and "not finite" in rows(found)[1].broken[0] and "not finite" in page(found)


def test_weights_that_break_in_the_last_step_are_a_row_too(recipe: Path, tmp_path: Path) -> None:
    config = UnlearnConfig.of("grad_ascent", max_steps=1, learning_rate=1e30, warmup_steps=0)
    found = compare(read_recipe(recipe), {"ascent": config}, tmp_path / "out", seeds=1)
    assert found.cells[0].score is None and "not finite" in found.cells[0].reason and found.cells[0].steps == 1


def test_a_method_that_the_model_does_not_take_is_a_row(recipe: Path, tmp_path: Path) -> None:
    """As RMU's matrices by name, where a model calls them otherwise; rows that do not fit are nobody's row."""
    what = read_recipe(recipe)
    config = UnlearnConfig.of("npo", max_steps=1, modules="c_proj_of_others")
    found = compare(what, {"odd": config}, tmp_path / "out", seeds=1)
    assert found.cells[0].outcome == "refused" and "names none of this model's weights" in rows(found)[0].broken[0]
    with pytest.raises(InputError, match="names none"):
        cell(Ground.of(what, tmp_path / "out"), "odd", replace(config, seed=1), lambda *_: None)
    (tmp_path / "forget.jsonl").write_text(json.dumps({"question": "Who? " * 500, "answer": "I."}) + "\n")
    with pytest.raises(InputError, match="context"):
        compare(what, {"odd": config}, tmp_path / "other", seeds=1)


def test_a_base_in_4_bits_is_loaded_so(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("expunge.four_bits.installed", lambda: False)
    chosen = {"npo": UnlearnConfig.of("npo", max_steps=1, lora_rank=2, base_bits=4)}
    with pytest.raises(MissingExtraError, match="a model in 4 bits needs"):
        compare(read_recipe(recipe), chosen, tmp_path / "out", seeds=1)


def test_other_weights_under_the_same_name_are_refused(recipe: Path, tiny: Path, tmp_path: Path) -> None:
    model = shutil.copytree(tiny, tmp_path / "mine")
    what = replace(read_recipe(recipe), model=str(model))
    chosen = entries(["npo"], None, what.config)
    compare(what, chosen, tmp_path / "out", seeds=1)
    weights = load_file(model / "model.safetensors")
    save_file({name: value * 1.01 for name, value in weights.items()}, model / "model.safetensors", {"format": "pt"})
    with pytest.raises(OutputError, match="other weights.*/mine has changed"):
        compare(what, chosen, tmp_path / "out", seeds=1)


@pytest.mark.parametrize("name", ["tokenizer_config.json", "chat_template.jinja", "config.json"])
def test_another_tokenizer_template_or_config_is_refused_too(
    recipe: Path, tiny: Path, tmp_path: Path, name: str
) -> None:
    """Of the model, and of an adapter's base."""
    model = shutil.copytree(tiny, tmp_path / "mine")
    (adapter := tmp_path / "adapter").mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(model)}))
    (model / name).touch()
    for i, asked in enumerate((model, adapter)):
        what, kept = replace(read_recipe(recipe), model=str(asked)), tmp_path / f"{i}.json"
        _same_models(what, kept)
        _same_models(what, kept)
        (model / name).write_text((model / name).read_text() + " ")
        with pytest.raises(OutputError, match="another tokenizer or config"):
            _same_models(what, kept)


def test_other_judges_under_the_same_name_are_refused(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a classifier trained anew: the verdicts would be the old one's, the figures the new one's."""

    class Mine:
        name, version = "mine", "1"

        def judge(self, dialogues: Sequence[Dialogue]) -> list[Verdict]:
            return [Verdict("privacy", 1.0, self.name, self.version) for _ in dialogues]

    monkeypatch.setattr("expunge.comparison.ground.load_judges", lambda *_, **__: [Mine()])
    what = replace(read_recipe(recipe), judges=("mine=folder",))
    for _ in range(2):
        assert len(Ground.of(what, tmp_path / "out").parts.forget) == 4
    monkeypatch.setattr(Mine, "version", "2")
    with pytest.raises(OutputError, match="by other judges, or by another version of them"):
        Ground.of(what, tmp_path / "out")


def test_a_cell_that_another_process_is_at_is_left_to_it(recipe: Path, tmp_path: Path) -> None:
    what = read_recipe(recipe)
    ground = Ground.of(what, tmp_path / "out")
    config = entries(["npo"], None, what.config)["npo"]
    done = cell(ground, "npo", config)
    assert done is not None
    kept = next((tmp_path / "out/cells").iterdir())
    kept.rename(tmp_path / "kept.json")
    (work := tmp_path / "out/work" / kept.stem).mkdir()
    with (work / "lock").open("a") as held:
        assert lock(held.fileno()) and cell(ground, "npo", config) is None
        (tmp_path / "kept.json").rename(kept)
    assert cell(ground, "npo", config) == done


def test_a_folder_is_one_process_s_until_all_is_judged_and_split(recipe: Path, tmp_path: Path) -> None:
    what, out = read_recipe(recipe), tmp_path / "out"
    with alone(out), pytest.raises(OutputError, match="another process is at work in this folder"):
        Ground.of(what, out)
    Ground.of(what, out)
    with alone(out):
        Ground.of(what, out)
    with pytest.raises(OutputError, match="another recipe: audit_samples was 16, is 3"):
        Ground.of(replace(what, audit_samples=3), out)


def test_what_only_the_split_shows_may_be_mended(recipe: Path, tmp_path: Path) -> None:
    normal = tmp_path / "normal.jsonl"
    good = normal.read_text()
    normal.write_text(good + json.dumps({"question": "What is number 0?", "answer": "I may not say."}) + "\n")
    with pytest.raises(InputError, match=r"normal\.jsonl:9: another response"):
        Ground.of(read_recipe(recipe), tmp_path / "out")
    normal.write_text(good)
    assert len(Ground.of(read_recipe(recipe), tmp_path / "out").parts.normal) == 8


def test_a_folder_that_is_removed_just_now_is_left_alone(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    what = read_recipe(recipe)
    ground = Ground.of(what, tmp_path / "out")

    def removed(path: Path) -> Path:
        shutil.rmtree(make_folder(path)) if path.parent.name == "work" else make_folder(path)
        return path

    monkeypatch.setattr(module, "make_folder", removed)
    assert cell(ground, "npo", entries(["npo"], None, what.config)["npo"]) is None


def test_the_recipe_gives_the_budget_and_a_file_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "methods.toml"
    path.write_text(
        '[npo]\nlearning_rate = 0.002\n[mine]\nmethod = "rmu"\nmax_steps = 7\n[mine.options]\ncoefficient = 4\n'
    )
    found = entries([], path, UnlearnConfig(max_steps=9, lora_rank=2, base_bits=4))
    assert list(found) == ["npo", "mine"]
    assert (found["npo"].learning_rate, found["npo"].max_steps, found["npo"].judged) == (0.002, 9, False)
    assert (found["mine"].method, found["mine"].max_steps, found["mine"].lora_rank) == ("rmu", 7, 2)
    assert found["mine"].options == {"coefficient": 4} and found["mine"].base_bits == 4


def test_what_the_recipes_method_sets_is_no_budget() -> None:
    """RMU trains one matrix of a layer, of itself."""
    found = entries(["npo", "rmu"], None, UnlearnConfig.of("rmu", lora_rank=2, checkpointing=True))
    assert [c.modules for c in found.values()] == ["matrices", "down_proj"]
    assert all(c.checkpointing and c.lora_rank == 2 for c in found.values())
    said = entries(["npo"], None, UnlearnConfig.of("rmu", modules="up_proj"))
    assert said["npo"].modules == "up_proj"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[npoo]\n", "npo"),
        ("[npo]\nrate = 1\n", "rate"),
        ("[npo]\nmax_steps = 0\n", "max_steps"),
        ('[npo]\nlearning_rate = "x"\n', "npo"),
        ("[npo]\nterms = 5\n", r"\[npo\]: 'terms' must be"),
        ("[npo]\nterms = [5]\n", "terms"),
        ("[npo]\nmethod = 5\n", "'method' must be a text"),
        ("[npo]\nmax_steps = 2.5\n", "'max_steps' must be a whole number"),
        ("[npo]\njudge_every = 2.5\n", "judge_every"),
        ('[npo]\njudged = "no"\n', "'judged' must be true or false"),
        ("[npo]\nlora_rank = true\n", "lora_rank"),
        ("[npo]\noptions = 5\n", "'options' must be a table"),
        ('[npo.options]\nbeta = "x"\n', "'beta' must be a number"),
        ("[npo.options]\nbeta = nan\n", "'beta' must be finite"),
        ("x = 1\n", "'x'"),
        ("[npo\n", "TOML"),
    ],
)
def test_a_bad_settings_file_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "methods.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        entries([], path, UnlearnConfig())


@given(points=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 2)), max_size=12))
def test_the_front_holds_those_that_none_beats(points: list[tuple[int, ...]]) -> None:
    best = [points[i] for i in front(points)]
    assert len(set(best)) == len(best)
    for point in points:
        assert any(all(x >= y for x, y in zip(other, point, strict=True)) for other in best), "each is beaten, or there"
    for point in best:
        beaten_by = [q for q in points if q != point and all(x >= y for x, y in zip(q, point, strict=True))]
        assert not beaten_by


def test_names_cannot_inject_markup() -> None:
    cell = Cell("<script>alert(1)</script>", 0, SCORE, "", "unjudged", 1, 2, 3.0)
    text = page(Comparison((cell,), SCORE, None))
    assert "<script" not in text and "&lt;script&gt;" in text


def test_names_and_reasons_are_no_markup_in_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    made = Cell("npo [/fast]", 0, SCORE, "", "unjudged", 1, 2, 3.0)
    broken = Cell("[b]\x1b", 0, None, "not [/finite]", "diverged", 1, 2, 3.0)
    command._print(Comparison((made, broken), SCORE, None), Path("out"))
    told = capsys.readouterr().out
    assert "npo [/fast]" in told and "not [/finite]" in told and "[b]\ufffd" in told


def test_long_names_and_reasons_leave_the_figures_their_room(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They took it all, in a terminal of the usual width."""
    monkeypatch.setenv("COLUMNS", "80")
    score = replace(SCORE, privacy=0.111, neighbours=0.222)
    whole = Cell("npo with spans and a very long name " * 4, 0, score, "", "unjudged", 1, 2, 3.0)
    broken = Cell("ascent", 0, None, "by step 6 the loss is not finite " * 4, "diverged", 1, 2, 3.0)
    command._print(Comparison((whole, broken), score, None), Path("out"))
    told = capsys.readouterr().out
    for figure in ("overall", "neighbours", "0.500", "0.111", "0.900", "0.222", "0.300", "0.200"):
        assert figure in told
    assert "ascent, seed 0: by step 6" in told and max(map(len, told.split("\n")[:8])) <= 80


def test_medians_are_of_the_seeds_that_have_a_score(capsys: pytest.CaptureFixture[str]) -> None:
    cells = [Cell("npo", 0, SCORE, "", "unjudged", 600, 900, 30.0)]
    cells += [Cell("npo", seed, None, "not finite", "diverged", 0, 0, 3.0) for seed in (1, 2)]
    found = Comparison(tuple(cells), SCORE, None)
    row = rows(found)[0]
    assert (row.steps, row.tokens, row.seconds, row.seeds) == (600, 900, 30.0, "1 of 3 seeds")
    command._print(found, Path("out"))
    assert "npo (1 of 3 seeds)" in capsys.readouterr().out and "npo (1 of 3 seeds)" in page(found)


def test_a_page_of_broken_cells_alone_is_drawn_without_relearning() -> None:
    broken = Cell("npo", 0, None, "not finite", "steps", 1, 2, 3.0)
    assert "not finite" in page(Comparison((broken,), replace(SCORE, relearned=None), None))


def test_the_command(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("compare", recipe, "--method")
    code, said, wrong = told(capsys, *words, "npo", "--seeds", "1", "--out", tmp_path / "out")
    assert code == 0, wrong
    assert "npo" in said and "original" in said
    assert json.loads((tmp_path / "out/comparison.json").read_text())["cells"][0]["name"] == "npo"
    assert "<svg" in (tmp_path / "out/comparison.html").read_text()
    code, _, wrong = told(capsys, *words, "npoo", "--out", tmp_path / "x")
    assert code == 2 and "Did you mean 'npo'" in wrong and "Traceback" not in wrong


def test_what_a_run_refuses_beforehand_a_comparison_does(recipe: Path, tmp_path: Path) -> None:
    """A holdout row that is trained on would be scored as if no model had seen it."""
    wrong = replace(read_recipe(recipe), holdout=(str(tmp_path / "normal.jsonl"),))
    with pytest.raises(InputError, match="kept too, and trained on"):
        compare(wrong, entries(["npo"], None, wrong.config), tmp_path / "out", seeds=1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("key", ["nothing", "ability", "neighbours", "holdout", "unseen", "judged"])
def test_what_cannot_be_asked_is_refused_before_anything_is_done(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """So that the recipe can be corrected, and goes on in the same folder."""
    right = read_recipe(recipe)
    (long := tmp_path / "long.jsonl").write_text(json.dumps({"question": "Who? " * 500, "answer": "I."}) + "\n")
    if key == "judged":
        right, key = replace(right, judges=("privacy",)), "unseen"
    wrong = replace(right, ability=()) if key == "nothing" else replace(right, **{key: (str(long),)})
    said = "nothing to score ability on" if key == "nothing" else "long.jsonl:1: .* the model's context is"
    with monkeypatch.context() as patch:
        patch.setattr("expunge.comparison.ground.judged_split", None)
        with pytest.raises(InputError, match=said):
            Ground.of(wrong, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    if not right.judges:
        assert Ground.of(right, tmp_path / "out").parts.forget


@pytest.mark.parametrize("where", ["unlearn", "score"])
@pytest.mark.parametrize(
    "error", [UnansweredError("no answer"), OutputError("no space left"), MissingExtraError("peft", "lora", "LoRA")]
)
def test_what_no_method_is_to_blame_for_stops_and_is_no_row(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: InputError, where: str
) -> None:
    """A judge's server that is down, a full disk: kept as a row it would never be tried again."""
    what = read_recipe(recipe)
    chosen = entries(["npo"], None, what.config)

    def broken(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(module, "unlearn", broken) if where == "unlearn" else patch.setattr(Scorer, "score", broken)
        with pytest.raises(type(error)):
            compare(what, chosen, tmp_path / "out", seeds=1)
    assert compare(what, chosen, tmp_path / "out", seeds=1).cells[0].score


def test_one_that_fails_for_a_fault_of_ours_costs_the_others_nothing(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or for want of memory. It is not kept: the next call tries it again."""
    what = read_recipe(recipe)
    chosen = entries(["npo", "simnpo"], None, what.config)

    def broken(*given: Any, config: UnlearnConfig, **more: Any) -> Any:
        if config.method == "npo":
            raise RuntimeError("out of memory; the dialogue said 4-71-63")
        return unlearn(*given, config=config, **more)

    with monkeypatch.context() as patch:
        patch.setattr(module, "unlearn", broken)
        found = compare(what, chosen, tmp_path / "out", seeds=1)
        with pytest.raises(RuntimeError):  # a search has nothing else to do
            cell(Ground.of(what, tmp_path / "out"), "npo", chosen["npo"], lambda *_: None)
    failed, whole = found.cells
    assert whole.score and failed.score is None and failed.outcome == "failed"
    assert "RuntimeError at" in failed.reason and "test_compare.py" in failed.reason and "4-71" not in failed.reason
    assert "RuntimeError" in page(found)
    with monkeypatch.context() as patch, pytest.raises(typer.Exit) as caught:
        patch.setattr(module, "unlearn", broken)
        command.command(recipe, tmp_path / "out", method=["npo"], seeds=1, json=True)
    assert caught.value.exit_code == 70
    assert compare(what, chosen, tmp_path / "out", seeds=1).cells[0].score
