"""What an audit asks, read from files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from expunge.judges.names import load_judge
from expunge.progress import Quiet
from expunge.questions import audit_sets
from expunge.recipe import Recipe
from expunge.selection import read_forget


class Told(Quiet):
    """Keeps the lines said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


def written(folder: Path, *verdicts: str) -> str:
    """Dialogues with these verdicts, one each; "" for none."""
    path = folder / "unseen.jsonl"
    rows = [{"question": f"Number {i}?", "answer": f"It is 555-020{i}.", "id": str(i)} for i in range(len(verdicts))]
    scanned = [
        {"verdicts": [{"label": v, "score": 1.0, "judge": "test", "version": "1"}]} if v else {} for v in verdicts
    ]
    path.write_text("".join(json.dumps(row | more) + "\n" for row, more in zip(rows, scanned, strict=True)))
    return str(path)


@pytest.mark.parametrize(
    ("verdicts", "asked"), [(("privacy", "clean", "harmful", "clean"), ["0", "2"]), (("", ""), ["0", "1"])]
)
def test_without_judges_what_a_scan_found_clean_is_not_asked(
    tmp_path: Path, verdicts: tuple[str, ...], asked: list[str]
) -> None:
    told = Told()
    sets = audit_sets(Recipe("town", (), unseen=(written(tmp_path, *verdicts),)), [], [], progress=told)
    assert [item.dialogue.id for item in sets.unseen] == asked
    left = ["Unseen phrasings: 2 of 4 are left out, for nothing flags them."]
    assert told.lines == (left if "clean" in verdicts else [])


def test_what_no_judge_flags_is_told(tmp_path: Path) -> None:
    registry = tmp_path / "registry.jsonl"
    registry.write_text(json.dumps({"kind": "phone", "value": "555-0201", "owner": "Someone"}) + "\n")
    told = Told()
    judges = [load_judge(f"registry={registry}")]
    sets = audit_sets(Recipe("town", (), unseen=(written(tmp_path, "", "", ""),)), [], judges, progress=told)
    assert [item.dialogue.id for item in sets.unseen] == ["1"]
    assert told.lines == ["Unseen phrasings: 2 of 3 are left out, for nothing flags them."]


def test_a_dialogue_given_twice_is_asked_once(tmp_path: Path) -> None:
    """Eighty times the same one would show "at most 5 %", and shows no more than once."""
    twice = (written(tmp_path, ""),) * 2
    forget = [item for name in twice for item in read_forget(name)]
    sets = audit_sets(Recipe("town", (), ability=twice, neighbours=twice, holdout=twice, lookalikes=twice), forget, [])
    found = (sets.trained, sets.ability, sets.neighbours, sets.holdout, sets.lookalikes)
    assert [len(rows) for rows in found] == [1] * 5


def test_a_prompt_that_was_trained_on_is_no_unseen_phrasing(tmp_path: Path) -> None:
    told = Told()
    unseen = written(tmp_path, "", "", "")
    forget = read_forget(unseen)[:2]
    answered = replace(forget[0].dialogue.answered("It is 555-0299."), id="0")
    sets = audit_sets(
        Recipe("town", (), unseen=(unseen,)), [replace(forget[0], dialogue=answered), forget[1]], [], progress=told
    )
    assert [item.dialogue.id for item in sets.unseen] == ["2"]
    assert told.lines == ["Unseen phrasings: 2 of 3 are left out, for they were trained on."]
