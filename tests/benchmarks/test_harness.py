"""The seam to lm-eval, with a stand-in for it in the form of its version 0.4.13."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from made_up import average

from expunge.audit import intervals
from expunge.benchmarks import harness
from expunge.benchmarks.result import Models
from expunge.errors import InputError, MissingExtraError
from expunge.model import LanguageModel
from expunge.report.wording import figure

RIGHT = {"wmdp_bio": [1.0, 0.0, 1.0], "mmlu_a": [1.0, 1.0], "mmlu_b": [0.0, 1.0, 1.0, 0.0]}


def samples(values: list[float], **more: Any) -> list[dict[str, Any]]:
    return [{"doc_id": i, "filter": "none", "acc": value, **more} for i, value in enumerate(values)]


def found() -> dict[str, Any]:
    """What `simple_evaluate` gives for a task, a group of groups, and a figure that is no mean of rows."""
    of = {name: {"name": name, "alias": name, "acc,none": average(rows)} for name, rows in RIGHT.items()}
    pooled = average([*RIGHT["mmlu_a"], *RIGHT["mmlu_b"]])
    groups = {"mmlu": {"acc,none": pooled, "acc_stderr,none": 0.2}, "mmlu_ab": {"acc,none": pooled}}
    text = {"perplexity,none": 12.0, "perplexity_stderr,none": 1.5, "word,flexible": 0.5, "word_stderr,flexible": "N/A"}
    rows = {name: samples(values) for name, values in RIGHT.items()}
    rows["text"] = [{"filter": "none", "perplexity": (3, 4)}, {"filter": "flexible", "word": 0.5}]
    return {
        "results": {**groups, **of, "text": text},
        "group_subtasks": {"mmlu": ["mmlu_ab"], "mmlu_ab": ["mmlu_a", "mmlu_b"]},
        "higher_is_better": {"mmlu": {"acc": True}, "wmdp_bio": {"acc": True}, "text": {"perplexity": False}},
        "versions": {"mmlu": 2, "wmdp_bio": 1, "text": 0},
        "samples": rows,
    }


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """lm-eval is what this test says it is; what it was asked is told."""
    told: dict[str, Any] = {}

    class TaskManager:
        all_tasks = ("wmdp_bio", "wmdp_cyber", "wmdp_chem", "mmlu", "text")

        def __init__(self, include_path: str | None = None) -> None:
            told["include"] = include_path

    class HFLM:
        def __init__(self, **options: Any) -> None:
            told.setdefault("wrapped", []).append(options["pretrained"])

    def simple_evaluate(model: HFLM, **options: Any) -> dict[str, Any]:
        told["options"] = options
        if "fails" in options["tasks"]:
            raise ValueError("no such rows\nand more")
        return found()

    parts = {name: ModuleType(name) for name in ("lm_eval", "lm_eval.tasks", "lm_eval.models.huggingface")}
    vars(parts["lm_eval"])["simple_evaluate"] = simple_evaluate
    vars(parts["lm_eval.tasks"])["TaskManager"] = TaskManager
    vars(parts["lm_eval.models.huggingface"])["HFLM"] = HFLM
    for name, part in {**parts, "lm_eval.models": ModuleType("lm_eval.models")}.items():
        monkeypatch.setitem(sys.modules, name, part)
    return told


def test_figures_are_lm_evals_with_an_interval_over_rows(asked: dict[str, Any], lm: LanguageModel) -> None:
    known = harness.manager(["wmdp_bio", "mmlu"])
    result = harness.run(Models(lm), ["wmdp_bio", "mmlu"], known, name="wmdp", forgotten=["wmdp_bio"], limit=9)
    measures = {m.key: m for m in result.measures}
    assert list(measures) == ["mmlu_acc", "wmdp_bio_acc", "text_perplexity", "text_word_flexible"]
    bio, mmlu = measures["wmdp_bio_acc"], measures["mmlu_acc"]
    assert bio.after == intervals.mean(RIGHT["wmdp_bio"]) and (bio.group, bio.better) == ("forgetting", "lower")
    assert mmlu.after == intervals.mean([*RIGHT["mmlu_a"], *RIGHT["mmlu_b"]])
    assert (mmlu.group, mmlu.better, mmlu.unit) == ("ability", "higher", "share")
    assert result.facts == {
        "rows": {"mmlu": 6, "wmdp_bio": 3, "text": 1},
        "versions": {"mmlu": 2, "wmdp_bio": 1, "text": 0},
    }
    assert asked["wrapped"] == [lm.model] and asked["options"]["limit"] == 9
    assert asked["options"]["tasks"] == ["wmdp_bio", "mmlu"] and asked["options"]["task_manager"] is known


def test_what_is_no_mean_of_rows_has_the_standard_error(asked: dict[str, Any], lm: LanguageModel) -> None:
    result = harness.run(Models(lm, lm), ["text"], harness.manager(["text"]), name="tasks")
    measures = {m.key: m for m in result.measures}
    perplexity = measures["text_perplexity"].after
    assert (perplexity.value, perplexity.low, perplexity.high) == (12.0, 12 - 1.96 * 1.5, 12 + 1.96 * 1.5)
    assert (measures["text_perplexity"].better, measures["text_perplexity"].unit) == ("lower", "number")
    assert measures["text_word_flexible"].after.value == 0.5 and measures["text_word_flexible"].oracle is not None
    assert len(asked["wrapped"]) == 2


@pytest.mark.parametrize(
    ("metric", "value", "told"),
    [
        ("word_perplexity", 23.4, "23.400"), ("bits_per_byte", 0.74, "0.740"), ("bleu", 31.2, "31.200"),
        ("ter", 0.5, "0.500"), ("mcc", -0.25, "-0.250"), ("acc_norm", 0.74, "74.0%"), ("after_acc", 0.74, "74.0%"),
    ],
)  # fmt: skip
def test_what_is_no_share_is_told_as_a_number(metric: str, value: float, told: str) -> None:
    results = {"after": {"results": {"task": {f"{metric},none": value}}}}
    measure = harness._measure("task", f"{metric},none", results, forgotten=False)
    assert figure(measure.after.value, measure.unit) == told


def test_faults_are_told(asked: dict[str, Any], lm: LanguageModel, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no task 'mmlo'\n  Did you mean mmlu"):
        harness.manager(["mmlo"])
    with pytest.raises(InputError, match="no such folder"):
        harness.manager(["mmlu"], tmp_path / "no")
    with pytest.raises(InputError, match="cannot run fails: no such rows\n"):
        harness.run(Models(lm), ["fails"], harness.manager(["mmlu"], tmp_path), name="tasks")
    assert asked["include"] == str(tmp_path)


def test_without_lm_eval_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", None)
    with pytest.raises(MissingExtraError, match=r"expunge\[lm-eval\]"):
        harness.manager(["mmlu"])
