from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hostile import HOSTILE, audit_saying
from huggingface_hub import ModelCard
from madeup import share

from expunge.audit.decision import decide
from expunge.audit.result import Audit, Estimate
from expunge.report import write_card
from expunge.report.card import card
from expunge.report.html import page

Fake = Callable[..., Audit]


def test_the_hub_reads_the_figures_back(fake: Fake, tmp_path: Path) -> None:
    audit = fake(reference="org/chat-1b")
    found = ModelCard.load(write_card(audit, tmp_path / "README.md"))
    assert (found.data.base_model, found.data.library_name) == ("org/chat-1b", "transformers")
    assert {"unlearning", "expunge"} <= set(found.data.tags)
    results = {r.metric_type: r for r in found.data.eval_results}
    assert list(results) == [c.name for c in audit.claims] == [
        "flagged", "leak", "ability", "neighbours", "fluency",
    ]  # fmt: skip
    claim = audit.claims[0]
    assert claim.found is not None
    assert results["flagged"].metric_value == claim.found.value == 0.0175
    assert results["flagged"].metric_args == {
        "low": claim.found.low, "high": claim.found.high, "count": 400, "threshold": 0.05, "outcome": "PASS",
    }  # fmt: skip
    assert "An audit of it ended **PASS**" in found.text and f"SHA-256: {audit.digest}" in found.text
    assert "| Flagged, unseen phrasings | 88.1% | 1.8% [0.0–3.5%] | 400 |" in found.text


def test_false_refusals_are_on_card_and_page(fake: Fake) -> None:
    after, before = share(0.02, 400), share(0.01, 400)
    alike = replace(fake().measure("loops"), key="refused_lookalikes", title="Look-alikes refused", group="refusals")
    audit = fake(measures=(*fake().measures, replace(alike, after=after, before=before)))
    found = ModelCard(card(audit))
    assert "| Harmless prompts are not refused | 1.0% more |" in found.text
    assert "| Look-alikes refused | 1.0% | 2.0% " in found.text
    names = {r.metric_type: r.metric_name for r in found.data.eval_results}
    assert names["refusals"].endswith(": more") and names["ability"].endswith(": lost"), "a value alone would mislead"
    text = page(audit)
    assert '<h3>False refusals <span class="quiet">Does it refuse what is harmless?</span></h3>' in text
    assert "1.0% <small>more</small>" in text


def test_adapters_say_so(fake: Fake) -> None:
    assert ModelCard(card(fake(), adapter=True)).data.library_name == "peft"


def test_no_dialogue_and_no_path_is_told(fake: Fake, tmp_path: Path) -> None:
    """Names of people, streets and numbers are in the samples; folders in the names of models and inputs."""
    (tmp_path / "base").mkdir()
    facts = {"inputs": {"/home/ann/secret/log.jsonl": "5f2c"}, "seed": 7, "versions": {"expunge": "0.1.0"}}
    text = card(fake(model="/home/ann/run/model", reference=str(tmp_path / "base"), facts=facts))
    assert "# base, unlearned" in text and "base_model" not in text
    for private in ("ann", "secret", str(tmp_path), "Quandt", "Lindengasse", "+49"):
        assert private not in text


def test_a_base_that_was_in_4_bits_is_told(fake: Fake) -> None:
    assert "- base: 4 bits (NF4) while" in card(fake(facts={"unlearn": {"base": "4 bits (NF4) while it was trained"}}))


def test_a_folder_that_looks_like_a_hub_name_is_no_base(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs" / "base").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert ModelCard(card(fake(reference="runs/base"))).data.base_model is None


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_titles_are_neither_markup_nor_metadata(fake: Fake, text: str) -> None:
    measures = audit_saying(fake, text).measures
    shown = card(fake(measures=measures, reference=text, facts={"seed": text, "versions": {text: text}}))
    lines = ModelCard(shown).text.splitlines()
    assert not [line for line in lines if "<" in line.replace("&lt;", "")]
    table = [line.replace("\\|", "") for line in lines if line.startswith("| ")]
    assert {line.count("|") for line in table} <= {5, 6}
    assert set(yaml.safe_load(shown.split("---\n")[1])) <= {
        "base_model",
        "library_name",
        "pipeline_tag",
        "tags",
        "model-index",
    }


def test_what_is_no_number_is_no_result(fake: Fake) -> None:
    first, *rest = fake().measures
    odd = replace(first, after=Estimate(math.nan, math.nan, math.nan, 3))
    assert "nan" not in card(fake(measures=(odd, *rest)))
    assert ModelCard(card(fake(measures=(), claims=decide([])))).data.eval_results in (None, [])


def test_the_hub_is_loaded_only_for_a_card() -> None:
    code = "import sys, expunge.report; print({'huggingface_hub', 'yaml'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
