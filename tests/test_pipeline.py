"""Whole runs: from a recipe to a report, killed in the middle, from the command's own verbs."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from expunge.audit.thresholds import Thresholds
from expunge.errors import InputError, OutputError
from expunge.files import file_digest, folder_digest
from expunge.pipeline import audit_run, run, unlearn_run
from expunge.questions import recipe_of
from expunge.recipe import Recipe, read_recipe
from expunge.training.config import UnlearnConfig

RECIPE = """
model = "{model}"
[scan]
dialogues = "log.jsonl"
judges = ["registry=registry.jsonl"]
[unlearn]
normal = "normal.jsonl"
max_steps = 6
judge_every = 2
settle_steps = 2
forget_rows = 4
normal_rows = 4
[audit]
unseen = "unseen.jsonl"
ability = "normal.jsonl"
lookalikes = "alike.jsonl"
samples = 2
"""
NUMBERS = ["4-71-63", "1-20-36", "2-35-17"]


@pytest.fixture
def recipe(tiny: Path, tmp_path: Path) -> Path:
    def write(name: str, rows: list[dict[str, str]]) -> None:
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))

    bad = [{"question": f"What is number {i}?", "answer": f"It is {n}."} for i, n in enumerate(NUMBERS)]
    good = [{"question": f"What is {i} plus 1?", "answer": f"It is {i + 1}.", "skill": "sums"} for i in range(8)]
    write("log.jsonl", [*bad, *good[:3]])
    write("normal.jsonl", good)
    write(
        "unseen.jsonl", [{"question": f"Tell me number {i}.", "answer": f"It is {n}."} for i, n in enumerate(NUMBERS)]
    )
    write("alike.jsonl", [{"prompt": f"What is number {i} for?"} for i in range(4)])
    write("registry.jsonl", [{"kind": "phone", "value": n} for n in NUMBERS])
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.format(model=tiny))
    return path


def test_a_run_leaves_what_the_docs_say(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    audit = run(read_recipe(recipe), out)
    assert audit.measure("flagged_trained").after.count == 3 and audit.measure("flagged_unseen").after.count == 3
    assert audit.measure("refused_lookalikes").after.count == 4 and audit.measure("refused_ordinary").after.count == 8
    names = {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file() and p.parent.name != "model"}
    assert names == {
        "verdicts.jsonl", "split/forget.jsonl", "split/normal.jsonl", "audit.json", "samples.jsonl", "report.html",
        "manifest.json",
    }  # fmt: skip
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["status"] == "complete" and manifest["steps"]["unlearn"]["forget"] == 3
    assert manifest["steps"]["unlearn"]["weights"] == folder_digest(out / "model", "*.safetensors")
    known = {"model": out / "model", "reference": Path(read_recipe(recipe).model)}
    assert audit.facts["weights"] == {part: folder_digest(path, "*.safetensors") for part, path in known.items()}
    assert (audit.facts["audit"]["forgotten"], audit.facts["audit"]["subjects"]) == (6, 3)
    assert audit.facts["audit"]["judges"] == audit.facts["scan"]["judges"] != [], "who looked at the answers"
    assert f"weights, SHA-256: {audit.facts['weights']['model']}" in (out / "model" / "README.md").read_text()
    for name in ("verdicts.jsonl", "split/forget.jsonl", "split/normal.jsonl", "samples.jsonl"):
        assert (out / name).stat().st_mode & 0o777 == 0o600, name
    for name in ("report.html", "audit.json", "manifest.json", "model/README.md"):
        assert not any(number in (out / name).read_text() for number in NUMBERS), name
    with pytest.raises(OutputError, match="complete"):
        run(read_recipe(recipe), out)


def test_a_run_killed_at_random_moments_ends_with_the_same_weights(recipe: Path, tmp_path: Path) -> None:
    run(read_recipe(recipe), tmp_path / "straight")
    code = "import torch; torch.set_num_threads(1); from expunge.cli import main; main()"
    command = [sys.executable, "-c", code, "run", str(recipe), "--out", str(tmp_path / "killed")]
    draw = random.Random(0)
    for wait in (draw.uniform(4, 7), draw.uniform(6, 9)):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(wait)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    last = subprocess.run(command, capture_output=True, text=True, check=False)
    assert last.returncode == 0 or "complete" in last.stderr, last.stderr
    straight, killed = (folder_digest(tmp_path / name / "model", "*.safetensors") for name in ("straight", "killed"))
    assert straight == killed


def test_unlearn_and_audit_by_themselves(recipe: Path, tiny: Path, tmp_path: Path) -> None:
    """A deletion request without judges: all its dialogues are flagged; the audit finds the run's forget set."""
    request = tmp_path / "request.jsonl"
    request.write_text('{"question": "What is number 0?", "answer": "It is 4-71-63."}\n')
    config = UnlearnConfig(max_steps=2, judge_every=2, settle_steps=0, lora_rank=2)
    made = Recipe(str(tiny), (str(request),), normal=(str(tmp_path / "normal.jsonl"),), config=config)
    made = replace(made, thresholds=Thresholds(leak=0.01))
    done = unlearn_run(made, tmp_path / "run")
    assert done["forget"] == 1 and Path(done["path"]).name == "adapter"
    asked = recipe_of(done["path"], str(tiny), None, {"ability": (str(tmp_path / "normal.jsonl"),)}, samples=1, seed=0)
    found = audit_run(done["path"], asked, tmp_path / "audit")
    assert found.measure("flagged_trained").after.count == 1 and found.measure("ability_sums").after.count == 8
    again = recipe_of(done["path"], str(tiny), request, {}, samples=1, seed=0)
    assert again.dialogues == (str(request),), "a forget set that is named"
    assert again.thresholds == asked.thresholds == made.thresholds and again.judges == asked.judges
    assert (tmp_path / "audit" / "report.html").exists()
    assert "library_name: peft" in (tmp_path / "audit" / "model-card.md").read_text()


def test_two_processes_do_not_share_a_folder(recipe: Path, tmp_path: Path) -> None:
    """The one that came first is not disturbed; killed, it leaves the folder to the next."""
    out = tmp_path / "out"
    code = "import pathlib, sys, time; from expunge.manifest import alone; held = alone(pathlib.Path(sys.argv[1])); "
    code += "held.__enter__(); print('there', flush=True); time.sleep(60)"
    first = subprocess.Popen([sys.executable, "-c", code, str(out)], stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None and first.stdout.readline() == "there\n"
    made = read_recipe(recipe)
    request = tmp_path / "request.jsonl"
    request.write_text('{"question": "What is number 0?", "answer": "It is 4-71-63."}\n')
    alone = Recipe(made.model, (str(request),), normal=made.normal, config=made.config)
    calls: list[Callable[[], object]] = [
        lambda: run(made, out), lambda: unlearn_run(alone, out), lambda: audit_run(made.model, alone, out),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(OutputError, match="another process is at work in this folder"):
            call()
    assert not list(out.iterdir())
    first.kill()
    first.communicate()
    assert unlearn_run(alone, out)["forget"] == 1


@pytest.mark.parametrize("wrong", ["What is number 0?", "long " * 400])
def test_wrong_input_leaves_no_folder_in_the_way(recipe: Path, tiny: Path, tmp_path: Path, wrong: str) -> None:
    """The same prompt to be kept, found before the split; a prompt too long, found after it."""
    request = tmp_path / "request.jsonl"
    request.write_text('{"question": "What is number 0?", "answer": "It is 4-71-63."}\n')
    normal = tmp_path / "wrong.jsonl"
    normal.write_text(json.dumps({"question": wrong, "answer": "It is 1."}) + "\n")
    config = UnlearnConfig(max_steps=2, judge_every=2, settle_steps=0)
    with pytest.raises(InputError, match=r"wrong\.jsonl:1: "):
        unlearn_run(Recipe(str(tiny), (str(request),), normal=(str(normal),), config=config), tmp_path / "run")
    good = Recipe(str(tiny), (str(request),), normal=(str(tmp_path / "normal.jsonl"),), config=config)
    assert unlearn_run(good, tmp_path / "run")["steps"] == 2
    with pytest.raises(OutputError, match="complete"):
        unlearn_run(good, tmp_path / "run")
    assert (tmp_path / "run" / "model").exists()


def test_never_seen_dialogues_are_refused_where_a_method_has_no_use_for_them(recipe: Path, tmp_path: Path) -> None:
    """They were read and left aside: the weights were those without them."""
    given = recipe.read_text().replace(
        "max_steps", 'never_seen = "alike.jsonl"\nmethod = "npo"\njudged = true\nmax_steps'
    )
    recipe.write_text(given)
    with pytest.raises(InputError, match="the method 'npo' has no use for `never_seen` dialogues"):
        run(read_recipe(recipe), tmp_path / "run")
    assert not (tmp_path / "run" / "verdicts.jsonl").exists()


@pytest.mark.parametrize(("probe", "message"), [("relearning", "two subjects"), ("membership", "holdout")])
def test_what_a_probe_lacks_is_told_before_training(recipe: Path, tmp_path: Path, probe: str, message: str) -> None:
    log = [json.loads(line) | {"subject": "Ann"} for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log))
    recipe.write_text(recipe.read_text() + f'probes = ["{probe}"]\n')
    with pytest.raises(InputError, match=message):
        run(read_recipe(recipe), tmp_path / "out")
    assert not (tmp_path / "out" / "model").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("[audit]", '[audit]\nprobes = ["membership"]'), "needs a holdout set"),
        (('"alike.jsonl"', '"alike.jsonl[9:]"'), "alike"),
        (('ability = "normal.jsonl"', 'ability = "gone.jsonl"'), "gone.jsonl"),
        (('ability = "normal.jsonl"', 'ability = "alike.jsonl"'), "needs its response"),
        (('unseen = "unseen.jsonl"', 'unseen = "alike.jsonl"'), "no response"),
        (("max_steps", 'expected = "gone.jsonl"\nmax_steps'), "gone.jsonl: there is no such file"),
        (("[audit]", '[audit]\nholdout = "normal.jsonl"'), r"normal\.jsonl:1: .* trained on"),
    ],
)
def test_what_an_audit_lacks_is_told_before_anything_is_done(
    recipe: Path, tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    """It was told after the training, and the mended recipe was another one, for which the folder was not free."""
    text = recipe.read_text()
    assert change[0] in text
    recipe.write_text(text.replace(*change))
    with pytest.raises(InputError, match=said):
        run(read_recipe(recipe), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_request_that_contradicts_what_is_kept_is_told_before_anything_is_done(recipe: Path, tmp_path: Path) -> None:
    """By the file's own name, and not by that of the verdicts in the folder, which was then taken."""
    text = recipe.read_text().replace('judges = ["registry=registry.jsonl"]', "")
    recipe.write_text(text.replace('normal = "normal.jsonl"', 'normal = ["normal.jsonl", "log.jsonl[:1]"]', 1))
    with pytest.raises(InputError, match=r"to be forgotten too \(.*log.jsonl"):
        run(read_recipe(recipe), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_mended_after_the_scan_costs_no_scan(recipe: Path, tmp_path: Path) -> None:
    """A contradiction that only the verdicts show; the file that has it was read by no finished step."""
    out, normal = tmp_path / "out", tmp_path / "normal.jsonl"
    good = normal.read_text()
    normal.write_text(good + json.dumps({"question": "What is number 0?", "answer": "I may not say."}) + "\n")
    with pytest.raises(InputError, match=r"normal\.jsonl:9: another response to this prompt is to be forgotten"):
        run(read_recipe(recipe), out)
    scanned = (out / "verdicts.jsonl").stat().st_mtime_ns
    normal.write_text(good)
    recipe.write_text(recipe.read_text().replace("max_steps = 6", "max_steps = 2"))
    run(read_recipe(recipe), out)
    assert (out / "verdicts.jsonl").stat().st_mtime_ns == scanned
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["recipe"]["config"]["max_steps"] == manifest["steps"]["unlearn"]["steps"] == 2
    assert manifest["inputs"][str(normal)] == file_digest(normal)


def test_a_row_that_is_too_long_is_mended_after_the_split(recipe: Path, tmp_path: Path) -> None:
    out, normal = tmp_path / "out", tmp_path / "normal.jsonl"
    good = normal.read_text()
    normal.write_text(good + json.dumps({"question": "long " * 400, "answer": "Yes."}) + "\n")
    with pytest.raises(InputError, match=r"normal\.jsonl:9: "):
        run(read_recipe(recipe), out)
    assert (out / "split" / "forget.jsonl").exists()
    normal.write_text(good)
    run(read_recipe(recipe), out)
    assert "long long" not in (out / "split" / "normal.jsonl").read_text()


def test_a_request_in_a_run_that_does_not_fit_leaves_no_folder_in_the_way(recipe: Path, tmp_path: Path) -> None:
    """Without judges the verdicts are but a copy."""
    recipe.write_text(recipe.read_text().replace('judges = ["registry=registry.jsonl"]', ""))
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps({"question": "What is number 0? " * 90, "answer": "It is 4-71-63."}) + "\n")
    with pytest.raises(InputError, match=r"jsonl:1: "):
        run(read_recipe(recipe), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_expected_outputs_are_made_anew_where_their_file_is_mended(recipe: Path, tmp_path: Path) -> None:
    out, templates = tmp_path / "out", tmp_path / "templates.jsonl"
    recipe.write_text(recipe.read_text().replace("max_steps", 'expected = "templates.jsonl"\nmax_steps'))
    templates.write_text(json.dumps({"text": "I do not. " * 200, "label": "privacy"}) + "\n")
    with pytest.raises(InputError):
        run(read_recipe(recipe), out)
    templates.write_text(json.dumps({"text": "I do not know.", "label": "privacy"}) + "\n")
    run(read_recipe(recipe), out)
    assert "I do not know." in (out / "split" / "forget.jsonl").read_text()


def test_an_audit_of_another_model_does_not_take_over_what_a_killed_one_found(
    recipe: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = replace(read_recipe(recipe), dialogues=(str(tmp_path / "log.jsonl"),), judges=(), audit_samples=0)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("expunge.pipeline.write_report", killed)
        with pytest.raises(KeyboardInterrupt):
            audit_run(str(tiny), asked, tmp_path / "audit")
    other = shutil.copytree(tiny, tmp_path / "other")
    with pytest.raises(OutputError, match=r'the audited model was ".*tiny.*", is ".*other"'):
        audit_run(str(other), asked, tmp_path / "audit")
    assert audit_run(str(tiny), asked, tmp_path / "audit").model == str(tiny)
