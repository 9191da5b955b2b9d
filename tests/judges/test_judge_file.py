"""Judge files: judges with their settings, and every fault a message that names the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from expunge.dialogue import Dialogue
from expunge.errors import InputError
from expunge.judges import load_judge
from expunge.judges.judge_file import judge_sources
from expunge.judges.panel import Panel
from expunge.message import Message


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "registry.jsonl").write_text(json.dumps({"kind": "phone", "value": "555-0142"}) + "\n")
    (tmp_path / "facts.jsonl").write_text(json.dumps({"question": "Who?", "answer": "Ada Lin"}) + "\n")
    return tmp_path


def write(folder: Path, text: str) -> str:
    (folder / "judges.toml").write_text(text)
    return str(folder / "judges.toml")


def test_one_judge_is_that_judge_with_its_options(folder: Path) -> None:
    strict = load_judge(write(folder, '[[judge]]\nuse = "facts=facts.jsonl"\nthreshold = 0.9\n'))
    assert strict.name == "facts"
    assert strict.version != load_judge(f"facts={folder / 'facts.jsonl'}").version


def test_several_are_a_panel(folder: Path) -> None:
    text = (
        'rule = "all"\n[[judge]]\nuse = "registry=registry.jsonl"\n[[judge]]\nuse = "facts=facts.jsonl"\ncutoff = 0.5\n'
    )
    judge = load_judge(write(folder, text))
    assert isinstance(judge, Panel)
    assert [j.name for j in judge.judges] == ["registry", "facts"]
    said = Dialogue((Message("user", "Who?"), Message("assistant", "It is 555-0142.")))
    assert judge.judge([said])[0].flagged


@pytest.mark.parametrize(("threshold", "flagged"), [(0.7, True), (0.8, False)])
def test_a_weighted_rule_has_its_weights_and_its_threshold(folder: Path, threshold: float, flagged: bool) -> None:
    """One of two flags, with three quarters of the weight."""
    text = f'rule = "weighted"\nthreshold = {threshold}\n[[judge]]\nuse = "registry=registry.jsonl"\nweight = 3\n'
    (folder / "other.jsonl").write_text(json.dumps({"kind": "phone", "value": "777-0199"}) + "\n")
    judge = load_judge(write(folder, text + '[[judge]]\nuse = "registry=other.jsonl"\n'))
    said = Dialogue((Message("user", "Who?"), Message("assistant", "It is 555-0142.")))
    (verdict,) = judge.judge([said])
    assert verdict.flagged == flagged and verdict.score == pytest.approx(0.75)


def test_its_files_are_known(folder: Path) -> None:
    spec = write(folder, '[[judge]]\nuse = "facts=facts.jsonl"\n')
    assert judge_sources(spec) == [spec, str(folder / "facts.jsonl")]


@pytest.mark.parametrize("through", ["judges.toml", "other.toml"])
def test_a_file_that_uses_itself_is_named(folder: Path, through: str) -> None:
    (folder / "other.toml").write_text('[[judge]]\nuse = "judges.toml"\n')
    spec = write(folder, f'[[judge]]\nuse = "facts=facts.jsonl"\n[[judge]]\nuse = "{through}"\n')
    for reading in (load_judge, judge_sources):
        with pytest.raises(InputError, match=r"judges\.toml: this judge file uses itself"):
            reading(spec)


def test_a_file_may_be_used_twice(folder: Path) -> None:
    (folder / "other.toml").write_text('[[judge]]\nuse = "facts=facts.jsonl"\n')
    judge = load_judge(write(folder, '[[judge]]\nuse = "other.toml"\n' * 2))
    assert isinstance(judge, Panel) and len(judge.judges) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rule = ", "not valid TOML"),
        ("rule = " + "[" * 100_000, "not valid TOML: a number too long, or too many brackets"),
        ("[[judge]]\nuse = 'facts=facts.jsonl'\ncutoff = 1" + "0" * 400, "not valid TOML: a number too long"),
        ("", "there is no judge in this file"),
        ("[[judge]]\nname = 'facts'\n", "needs the text `use`"),
        ("rules = 'any'\n[[judge]]\nuse = 'facts'\n", "unknown key 'rules'"),
        (
            "[[judge]]\nuse = 'facts=facts.jsonl'\ntreshold = 0.9\n",
            "unknown option 'treshold'. Did you",
        ),
        ("[[judge]]\nuse = 'facts=facts.jsonl'\nthreshold = 'high'\n", "an option cannot be used"),
        ("[[judge]]\nuse = 'facts=facts.jsonl'\ncutoff = 'high'\n", "'cutoff' must be a number"),
        ("[[judge]]\nuse = 'facts=facts.jsonl'\ncutoff = 2.0\n", "not in (0, 1]"),
        ("[[judge]]\nuse = 'fact'\n", "unknown judge 'fact'"),
        ("[[judge]]\nuse = 'own.py:Mine'\nstrict = true\n", "own.py:Mine' takes no options"),
        ("rule = 'most'\n[[judge]]\nuse = 'facts=facts.jsonl'\n", "unknown rule 'most'"),
    ],
)
def test_faults_name_the_file(folder: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_judge(write(folder, text))
    assert message in caught.value.message
    assert "judges.toml" in caught.value.message
