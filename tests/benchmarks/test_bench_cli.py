"""`expunge bench`: a table, the same as JSON, and one message for bad input before any model is loaded."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from made_up import MUSE, RWKU, TOFU, write

import command_line


def told(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    return command_line.told(capsys, "bench", *words)


@pytest.mark.parametrize("name", ["tofu", "muse", "rwku"])
def test_each_benchmark_is_printed_and_written(
    name: str, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts, more = {"tofu": (TOFU, "--split forget01"), "muse": (MUSE, "--corpus news"), "rwku": (RWKU, "")}[name]
    folder, out = write(tmp_path / "data", parts), tmp_path / "found.json"
    words = (name, "--model", tiny, "--oracle", tiny, "--data", folder, "--limit", "2", *more.split())
    code, text, err = told(capsys, *words, "--out", out, "--json")
    assert (code, err) == (0, "") and json.loads(text) == json.loads(out.read_text())
    found = json.loads(text)
    assert found["benchmark"] == name and found["model"] == found["oracle"] == str(tiny)
    assert all(m["model"] == m["oracle"] for m in found["measures"] if m["oracle"])
    assert all({"value", "low", "high", "count"} == set(m["model"]) for m in found["measures"])
    code, text, _ = told(capsys, *words)
    assert code == 0 and f"{name}: " in text and "oracle" in text and "Forgetting" in text
    assert found["measures"][0]["title"].split(",")[0][:20] in text


def test_nothing_kept_is_asked_for_by_the_next_run(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, cache = write(tmp_path / "data", TOFU), tmp_path / "cache"
    words = ("tofu", "--model", tiny, "--data", folder, "--split", "forget01", "--cache", cache, "--json")
    first = told(capsys, *words)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("generation._scores", "benchmarks.tofu.generate", "audit.gradients._norm"):
            patch.setattr(f"expunge.{name}", lambda *_, **__: pytest.fail("asked again"))
        assert told(capsys, *words) == first
    assert first[0] == 0
    assert sorted(path.name.split("-")[0] for path in cache.iterdir()) == ["gradients", "likelihoods", "rouge"]
    assert not any(text in path.read_text() for path in cache.iterdir() for text in ("What", "who", " is "))


def test_what_can_be_checked_is_checked_before_a_model_is_loaded(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def loaded(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded for nothing")

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", loaded)
    monkeypatch.setitem(sys.modules, "datasets", None)
    folder = write(tmp_path / "data", {**TOFU, "holdout01": [{"question": "Who?"}]})
    tofu = ("tofu", "--model", tiny, "--split", "forget01", "--data")
    cases: list[tuple[tuple[str | Path, ...], str]] = [
        ((*tofu, folder), "holdout01.jsonl:1: this row has no column 'answer'"),
        ((*tofu, folder, "--out", folder / "holdout01.jsonl"), "exists; nothing was overwritten"),
        ((*tofu, tmp_path), "there is no forget01_perturbed.jsonl"),
        ((*tofu, "org/name"), "expunge[datasets]"),
        ((*tofu, tmp_path / "no"), "no: there is no such folder"),
        ((*tofu, folder, "--oracle", tmp_path / "no"), "cannot load the model"),
        (("tofu", "--model", tiny, "--data", folder, "--split", "forget02"), "forget02"),
        (("muse", "--model", tiny, "--data", folder, "--corpus", "news"), "there is no verbmem/forget.jsonl"),
        (("rwku", "--model", tiny, "--data", folder), "there is no forget_level1.jsonl"),
        (("toffu", "--model", tiny), "toffu"),
    ]
    for words, message in cases:
        code, out, err = told(capsys, *words)
        assert (code, out) == (2, "") and message in " ".join(err.split()), err


@pytest.mark.parametrize("name", ["tofu", "muse", "rwku", "wmdp", "tasks"])
def test_each_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, text, _ = told(capsys, name, "--help")
    assert code == 0 and "--json" in text and "--limit" in text


@pytest.mark.parametrize("words", [("wmdp",), ("tasks", "--task", "arc_easy")])
def test_lm_eval_is_asked_for_by_its_extra(
    words: tuple[str, ...], tiny: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", None)
    code, out, err = told(capsys, *words, "--model", tiny)
    assert (code, out) == (2, "") and "pip install 'expunge[lm-eval]'" in err
