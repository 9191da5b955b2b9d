"""What the tests of comparisons share: a recipe that takes no time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def a_short_attack(monkeypatch: pytest.MonkeyPatch) -> None:
    """A score's relearning in three steps, and not in thirty: how far those get is for the tests of the probe."""
    monkeypatch.setattr("expunge.audit.relearning.STEPS", (1, 2, 3))


@pytest.fixture
def recipe(tiny: Path, tmp_path: Path) -> Path:
    """Four dialogues to forget and eight to keep; two steps."""
    bad = [{"question": f"What is number {i}?", "answer": f"It is {i}-{i + 3}-{i + 5}."} for i in range(4)]
    good = [{"question": f"What is {i} plus 1?", "answer": f"It is {i + 1}."} for i in range(8)]
    for name, lines in (("forget", bad), ("normal", good)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    path = tmp_path / "recipe.toml"
    path.write_text(
        f'model = "{tiny}"\n[scan]\ndialogues = "forget.jsonl"\n[unlearn]\nnormal = "normal.jsonl"\n'
        'max_steps = 2\nforget_rows = 3\nnormal_rows = 3\n[audit]\nability = "normal.jsonl"\n'
    )
    return path
