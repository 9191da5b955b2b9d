"""A setting that no part of the chosen method reads is refused where someone gave it, and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from expunge.comparison.entries import entries
from expunge.errors import InputError
from expunge.objective.methods import METHODS
from expunge.recipe import read_recipe
from expunge.training.config import UnlearnConfig

RECIPE = 'model = "m"\n[scan]\ndialogues = "log.jsonl"\n[unlearn]\n'


@pytest.mark.parametrize(
    ("method", "given", "said"),
    [
        ("npo", {"positive_weight": 1.0}, "'npo' has no positive term"),
        ("npo", {"hidden_weight": 4.0}, "'npo' has no hidden term"),
        ("paper", {"hidden_weight": 4.0}, "'paper' has no hidden term"),
        ("undial", {"normal_weight": 1.0}, "'undial' has no normal term"),
        ("idk_nll", {"negative_weight": 2.0}, "'idk_nll' has no negative term"),
        ("default", {"terms": ("distance", "kl"), "hidden_weight": 1.0}, "'default' has no hidden term"),
        ("grad_ascent", {"normal_limit": 0.3}, "normal_limit.*has no normal term"),
        ("default", {"normal_weight": 0.0, "normal_limit": 0.3}, "normal_limit.*has no normal term"),
        ("default", {"normal_weight": 0.0, "normal_budget": 0.3}, "normal_budget.*has no normal term"),
        ("npo", {"normal_budget": 0.3}, "normal_budget.*without a judge"),
        ("npo", {"settle_steps": 40}, "settle_steps.*without a judge"),
        ("npo", {"forgotten": 0.05}, "forgotten.*without a judge"),
        ("idk_nll", {"forgotten": 0.05, "judged": True}, "forgotten.*has no negative term"),
        ("npo", {"ignorance": 1e-3}, "ignorance.*reads none"),
        ("default", {"negative_weight": 0.0, "ignorance": 1e-3}, "ignorance.*reads none"),
        ("idk_nll", {"adversary": 0.4}, "adversary.*has no negative term"),
        ("ceu", {"surgery": True}, "surgery.*neither a normal term nor a hidden one"),
    ],
)
def test_what_is_given_and_read_by_nothing_is_refused(method: str, given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        UnlearnConfig.of(method, **given)
    assert error.value.remedy


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("npo", {"positive_weight": 0.0, "settle_steps": 0, "adversary": 0.0, "surgery": False}),
        ("npo", {"terms": ("npo", "cluster_mean"), "positive_weight": 1.0}),
        ("npo", {"judged": True, "settle_steps": 40, "forgotten": 0.05, "normal_budget": 2.0}),
        ("npo", {"adversary": 0.4, "noise": 2.0, "surgery": True, "normal_limit": 0.2, "judge_every": 50}),
        ("grad_ascent", {"normal_rows": 36, "lora_rank": 4}),
        ("default", {"ignorance": 1e-3, "forgotten": 0.02}),
        ("pdu", {}),
    ],
)
def test_what_is_read_or_asks_for_nothing_is_taken(method: str, given: dict[str, Any]) -> None:
    found = UnlearnConfig.of(method, **given)
    assert all(getattr(found, name) == value for name, value in given.items())


@pytest.mark.parametrize("method", METHODS)
def test_what_a_method_sets_of_itself_is_taken(method: str) -> None:
    assert UnlearnConfig.of(method).method == method
    assert UnlearnConfig.of(method, lora_rank=8).lora_rank == 8


def test_a_recipe_says_so_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE + 'method = "npo"\npositive_weight = 1')
    with pytest.raises(InputError, match=r"positive_weight = 1\.0: .*no positive term") as error:
        read_recipe(path)
    assert error.value.file == path


@pytest.mark.parametrize("name", ["ignorance", "forgotten"])
def test_the_level_of_rows_that_were_never_seen_takes_a_settings_place(tmp_path: Path, name: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE + f"{name} = 0.005")
    assert getattr(read_recipe(path).config, name) == 0.005
    path.write_text(RECIPE + f'{name} = 0.005\nnever_seen = "others.jsonl"')
    with pytest.raises(InputError, match=f"{name} = 0.005: .*never_seen"):
        read_recipe(path)


def test_a_recipe_that_methods_share_is_its_own_methods(tmp_path: Path) -> None:
    """Of it the others take the budget alone; what a table gives to one is asked of that one."""
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE + "positive_weight = 5\nadversary = 0.2\nnormal_rows = 9\nforgotten = 0.02")
    config = read_recipe(path).config
    found = entries([], None, config)
    assert set(found) == set(METHODS) and {c.normal_rows for c in found.values()} == {9}
    tables = tmp_path / "methods.toml"
    tables.write_text("[npo]\npositive_weight = 1.0\n")
    with pytest.raises(InputError, match=r"\[npo\]: positive_weight = 1\.0: .*no positive term"):
        entries([], tables, config)
