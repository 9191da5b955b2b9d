"""TOFU's figures against float64 loops, scipy, and arithmetic worked by hand."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_up import TOFU, average, dialogue, slow_auc, slow_log_p, slow_mean, slow_min_k, write
from scipy.stats import hmean, ks_2samp

from expunge.audit.gradients import gradient_norms
from expunge.audit.result import Measure
from expunge.audit.rouge import rouge_recall
from expunge.audit.scores import Scores
from expunge.benchmarks import tofu
from expunge.benchmarks.result import Models, Result
from expunge.benchmarks.rows import Source
from expunge.benchmarks.utility import utility
from expunge.dialogue import Dialogue
from expunge.generation import generate, greedy
from expunge.message import Message
from expunge.model import LanguageModel
from expunge.report.wording import figure

Row = Mapping[str, Any]
PARTS = {
    "forget": "forget01_perturbed",
    "retain": "retain_perturbed",
    "real_authors": "real_authors_perturbed",
    "world_facts": "world_facts_perturbed",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("tofu"), TOFU)


@pytest.fixture(scope="module")
def found(both: Models, folder: Path) -> dict[str, Measure]:
    return by_key(tofu.tofu(both, tofu.read(Source(str(folder)), "forget01"), split="forget01"))


def by_key(result: Result) -> dict[str, Measure]:
    return {m.key: m for m in result.measures}


def figures(measure: Measure) -> list[float]:
    return [e.value for e in (measure.after, measure.oracle) if e is not None]


def over(lms: list[LanguageModel], part: str, figure: Callable[[LanguageModel, Row], float]) -> list[float]:
    return [average([figure(lm, row) for row in TOFU[PARTS[part]]]) for lm in lms]


def probability(lm: LanguageModel, row: Row) -> float:
    return math.exp(slow_mean(lm, row["question"], row["answer"]))


def chosen(lm: LanguageModel, row: Row) -> float:
    wrong = sum(math.exp(slow_mean(lm, row["question"], text)) for text in row["perturbed_answer"])
    return probability(lm, row) / (probability(lm, row) + wrong)


def truth_ratio(lm: LanguageModel, row: Row) -> float:
    """exp(−mean NLL of the wrong answers) / exp(−NLL of the paraphrased right one)."""
    right = slow_mean(lm, row["question"], row.get("paraphrased_answer", row["answer"]))
    return math.exp(average([slow_mean(lm, row["question"], t) for t in row["perturbed_answer"]])) / math.exp(right)


def said(lm: LanguageModel, row: Row) -> float:
    (answer,) = greedy(lm, [dialogue(row["question"], row["answer"])], max_new_tokens=200)
    return rouge_recall(answer, row["answer"])


def test_each_part_equals_a_slow_reference(found: dict[str, Measure], lms: list[LanguageModel]) -> None:
    for part in PARTS:
        kind = chosen if part in ("real_authors", "world_facts") else probability
        assert figures(found[f"{part}_probability"]) == pytest.approx(over(lms, part, kind), abs=1e-9)
        assert figures(found[f"{part}_rouge"]) == pytest.approx(over(lms, part, said))
        assert found[f"{part}_rouge"].after.count == len(TOFU[PARTS[part]])

    def alike(lm: LanguageModel, row: Row) -> float:
        return min(truth_ratio(lm, row), 1 / truth_ratio(lm, row))

    def preferred(lm: LanguageModel, row: Row) -> float:
        return max(0.0, 1 - truth_ratio(lm, row))

    for part in PARTS:
        kind = alike if part == "forget" else preferred
        assert figures(found[f"{part}_truth_ratio"]) == pytest.approx(over(lms, part, kind), abs=1e-9)


def test_model_utility_is_the_harmonic_mean_of_the_nine(found: dict[str, Measure]) -> None:
    parts = ("retain", "real_authors", "world_facts")
    nine = [figures(found[f"{part}_{kind}"]) for part in parts for kind in ("probability", "rouge", "truth_ratio")]
    for model, value in enumerate(figures(found["model_utility"])):
        values = [pair[model] for pair in nine]
        assert value == pytest.approx(0.0 if 0 in values else hmean(values))
    assert found["model_utility"].after.count == 7


def test_forget_quality_equals_scipys_test(found: dict[str, Measure], lms: list[LanguageModel]) -> None:
    ratios = [[truth_ratio(lm, row) for row in TOFU["forget01_perturbed"]] for lm in lms]
    assert figures(found["forget_quality"]) == pytest.approx([ks_2samp(*ratios).pvalue])


def test_membership_equals_a_slow_reference(found: dict[str, Measure], lms: list[LanguageModel]) -> None:
    rows = [(r["question"], r["answer"]) for name in ("forget01_perturbed", "holdout01") for r in TOFU[name]]
    wanted: dict[str, list[float]] = {}
    for lm in lms:
        coded = [lm.format.encode(dialogue(*row)) for row in rows]
        scores = [slow_log_p(lm, [*c.prompt, *c.response], len(c.prompt)) for c in coded]
        kinds = {"loss": [average(s) for s in scores], "mink": [slow_min_k(s) for s in scores]}
        kinds["gradient"] = [-norm for norm in gradient_norms(lm, coded, Scores())]
        for kind, values in kinds.items():
            wanted.setdefault(kind, []).append(slow_auc(values[:4], values[4:]))
    for kind, aucs in wanted.items():
        assert figures(found[f"membership_{kind}"]) == pytest.approx(aucs)
    ours, ideal = wanted["mink"]
    leak = [((1 - ours) - (1 - ideal)) / (1 - ideal), 0.0]
    assert ideal == 1 or figures(found["privleak"]) == pytest.approx(leak)


def test_without_oracle_and_holdout_their_figures_are_left_out(both: Models, tmp_path: Path) -> None:
    parts = {name: rows for name, rows in TOFU.items() if name != "holdout01"}
    sets = tofu.read(Source(str(write(tmp_path, parts)), limit=2), "forget01")
    result = tofu.tofu(Models(both.model), sets, split="forget01")
    assert not [key for key in by_key(result) if key.startswith(("membership", "privleak", "forget_quality"))]
    rows = {"forget": 2, "retain": 2, "real_authors": 2, "world_facts": 2, "holdout": 0}
    assert result.facts == {"split": "forget01", "rows": rows}
    assert all(m.oracle is None for m in result.measures) and result.row()["oracle"] is None


def test_a_model_against_itself_has_full_forget_quality(both: Models, folder: Path) -> None:
    sets = tofu.read(Source(str(folder)), "forget01")
    found = by_key(tofu.tofu(Models(both.model, both.model), sets, split="forget01"))
    assert found["forget_quality"].after.value == 1
    assert all(m.oracle in (None, m.after) for m in found.values())


def test_what_is_no_number_is_neither_none_nor_all(lm: LanguageModel, folder: Path) -> None:
    """Of a model whose weights are no numbers."""
    broken = replace(lm, model=copy.deepcopy(lm.model))
    with torch.no_grad():
        for weight in broken.model.parameters():
            weight.fill_(math.nan)
    sets = tofu.read(Source(str(folder), limit=2), "forget01")
    found = by_key(tofu.tofu(Models(broken), sets, split="forget01"))
    likely = [m for key, m in found.items() if key.endswith(("probability", "truth_ratio", "utility"))]
    assert len(likely) == 9
    assert {figure(m.after.value, m.unit) for m in likely} == {"–"}


def test_utility_by_hand() -> None:
    """Two sets: means 1/2 and 1; and 1/3. Harmonic mean 3 / (2 + 1 + 3) = 1/2. A mean of 0 leaves nothing."""
    assert utility([[[0.0, 1.0], [1.0, 1.0]], [[1 / 3]]]).value == pytest.approx(0.5)
    assert utility([[[0.0, 0.0], [1.0, 1.0]], [[1 / 3]]]).value == 0
    alike = utility([[[0.25, 0.25]]])
    assert (alike.value, alike.low, alike.high, alike.count) == (0.25, 0.25, 0.25, 2)


@pytest.mark.parametrize("sets", [[], [[]], [[[]]]])
def test_utility_of_nothing(sets: list[list[list[float]]]) -> None:
    with pytest.raises(ValueError, match="no values"):
        utility(sets)


shares = st.floats(0.01, 1)


@given(st.lists(st.lists(st.tuples(shares, shares, shares), min_size=1, max_size=5), min_size=1, max_size=3))
def test_utility_is_scipys_harmonic_mean_within_its_interval(sets: list[list[tuple[float, float, float]]]) -> None:
    tables = [np.array(rows).T.tolist() for rows in sets]
    found = utility(tables, draws=50)
    assert found.value == pytest.approx(float(hmean([average(figures) for table in tables for figures in table])))
    assert 0 < found.low <= found.high <= 1


def test_what_is_known_of_an_answer_changes_none_of_it(both: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers that a model gives are its own rows here, whole and cut short, beside one that it does not give."""
    monkeypatch.setattr(tofu, "ANSWER", 12)
    lm = both.named["after"]
    asked = [Dialogue((Message("user", f"What is {i}?"), Message("assistant", "It is."))) for i in range(4)]
    long = generate(lm, asked, max_new_tokens=20)
    rows = [d.answered(text) for d, (text,) in zip(asked, long, strict=True) if text] + asked
    assert len(rows) > len(asked)
    assert tofu._said(both, lm, rows) == generate(lm, rows, max_new_tokens=12)
