"""What may be mended while a run is under way, and by which names the rest is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from expunge.differences import differences, in_one_line
from expunge.errors import OutputError
from expunge.manifest import NAME, Manifest
from expunge.recipe import Recipe
from expunge.steps import FORGET, VERDICTS
from expunge.training.config import UnlearnConfig

RUN = "run"


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    for name in ("log", "normal", "unseen", "registry"):
        (tmp_path / f"{name}.jsonl").write_text(name)
    log, normal, unseen, registry = (str(tmp_path / f"{n}.jsonl") for n in ("log", "normal", "unseen", "registry"))
    config = UnlearnConfig(max_steps=6)
    return Recipe("m", (log,), (f"registry={registry}",), normal=(normal,), unseen=(unseen,), config=config)


def begun(folder: Path, recipe: Recipe, *names: str) -> Path:
    """A run's folder with these files in it."""
    Manifest.begin(folder, recipe)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    return folder


SCANNED = (VERDICTS, FORGET)
TRAINING = (*SCANNED, "checkpoints/run.json")
TRAINED = (*SCANNED, "model/model.safetensors")
AUDITED = (*TRAINED, "audit.json")


@pytest.mark.parametrize(
    ("names", "change", "said"),
    [
        (SCANNED, {"seed": 3}, "recipe: seed was 0, is 3"),
        (SCANNED, {"scan_samples": 2}, "recipe: scan_samples was 0, is 2"),
        (TRAINING, {"config": UnlearnConfig(max_steps=9, lora_rank=2)}, "lora_rank was 0, is 2; max_steps was 6, is 9"),
        (TRAINING, {"expected": "sampled"}, 'expected was not given, is "sampled"'),
        (TRAINING, {"label": "harmful", "expected": "sampled"}, 'label was "privacy", is "harmful"'),
        (TRAINED, {"normal": ()}, "is not given"),
        (AUDITED, {"probes": ("prompts",)}, 'probes was not given, is ["prompts"]'),
        (AUDITED, {"audit_samples": 3, "label": "harmful"}, 'label was "privacy", is "harmful"; audit_samples was 16,'),
    ],
)
def test_what_a_finished_step_has_read_is_named(
    tmp_path: Path, recipe: Recipe, names: tuple[str, ...], change: dict[str, object], said: str
) -> None:
    folder = begun(tmp_path / RUN, recipe, *names)
    before = (folder / NAME).read_bytes()
    with pytest.raises(OutputError) as caught:
        Manifest.begin(folder, dataclasses.replace(recipe, **change))  # type: ignore[arg-type]
    assert all(part in caught.value.message for part in said.split("; ")), caught.value.message
    assert "Put that back" in caught.value.remedy and "--out" in caught.value.remedy
    assert ("to train anew" in caught.value.remedy) is (names == TRAINING and "label" not in change)
    assert (folder / NAME).read_bytes() == before and all((folder / name).exists() for name in names)


@pytest.mark.parametrize(
    ("names", "file"), [(SCANNED, "log"), (SCANNED, "registry"), (TRAINING, "normal"), (AUDITED, "unseen")]
)
def test_a_file_that_a_finished_step_has_read_is_named(
    tmp_path: Path, recipe: Recipe, names: tuple[str, ...], file: str
) -> None:
    folder = begun(tmp_path / RUN, recipe, *names)
    (tmp_path / f"{file}.jsonl").write_text("other")
    with pytest.raises(OutputError, match=rf"run with another input: .*/{file}\.jsonl has changed\n"):
        Manifest.begin(folder, recipe)


@pytest.mark.parametrize(
    ("names", "change"),
    [
        ((), {"seed": 3, "judges": (), "model": "n"}),
        (SCANNED, {"config": UnlearnConfig(max_steps=9), "normal": (), "expected": "sampled"}),
        (TRAINED, {"probes": ("prompts",), "unseen": (), "audit_samples": 3}),
    ],
)
def test_what_no_finished_step_has_read_may_be_mended(
    tmp_path: Path, recipe: Recipe, names: tuple[str, ...], change: dict[str, object]
) -> None:
    folder = begun(tmp_path / RUN, recipe, *names)
    mended = dataclasses.replace(recipe, **change)  # type: ignore[arg-type]
    assert Manifest.begin(folder, mended).recipe() == mended
    assert (folder / FORGET).exists() is (FORGET in names and "expected" not in change)
    Manifest.begin(folder, mended)


def test_a_file_may_be_mended_until_it_is_read(tmp_path: Path, recipe: Recipe) -> None:
    folder, normal = begun(tmp_path / RUN, recipe, *SCANNED), tmp_path / "normal.jsonl"
    before = json.loads((folder / NAME).read_text())["inputs"]
    normal.write_text("other")
    after = Manifest.begin(folder, recipe).read()["inputs"]
    assert {path for path in after if after[path] != before[path]} == {str(normal)}


def test_a_file_is_read_by_every_step_that_a_key_names_it_for(tmp_path: Path, recipe: Recipe) -> None:
    both = dataclasses.replace(recipe, ability=recipe.normal)
    folder = begun(tmp_path / RUN, both, *TRAINED)
    Path(recipe.normal[0]).write_text("other")
    with pytest.raises(OutputError, match="normal.jsonl has changed"):
        Manifest.begin(folder, both)


def test_a_finished_run_is_not_mended(tmp_path: Path, recipe: Recipe) -> None:
    folder = begun(tmp_path / RUN, recipe)
    Manifest(folder).finish()
    with pytest.raises(OutputError, match="another recipe: seed was 0, is 1") as caught:
        Manifest.begin(folder, dataclasses.replace(recipe, seed=1))
    assert "Put that back" not in caught.value.remedy


def test_a_comparison_that_has_begun_is_not_mended(tmp_path: Path, recipe: Recipe) -> None:
    folder = begun(tmp_path / RUN, recipe, "work/0/lock")
    with pytest.raises(OutputError, match="unseen was"):
        Manifest.begin(folder, dataclasses.replace(recipe, unseen=()))


def test_differences_in_words() -> None:
    old = {"a": 1, "b": {"c": None, "d": [1]}, "e": "0" * 16, "f": "m, " + "1" * 16, "g": 0, "h": (1,), "i": "x" * 500}
    new = {"a": 2, "b": {"c": "x", "d": []}, "e": "1" * 16, "f": "m, " + "2" * 16, "h": [1], "i": "y" * 500, "j": 0}
    found = differences(old, new)
    assert list(found) == ["a", "b.c", "b.d", "e", "f", "g", "i", "j"]
    assert found["a"] == "a was 1, is 2" and found["b.c"] == 'b.c was not given, is "x"'
    assert found["b.d"] == "b.d was [1], is not given" and found["e"] == "e has changed"
    assert found["f"] == "f has changed" and found["g"] == "g is gone" and found["j"] == "j is new"
    assert len(found["i"]) < 400
    assert in_one_line(list("abcdefg")) == "a; b; c; d; e; and 2 more" and in_one_line(["a"]) == "a"
