"""Answers kept in a file: none is lost by a crash, and no other file is harmed."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.errors import InputError
from expunge.judges.answers import Answers


def test_answers_outlive_the_process_that_got_them(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "answers.jsonl"
    first = Answers(path)
    first.add("a", "one\ntwo\u2028\ud800")
    again = Answers(path)  # while the first is still open
    again.add("b", "")
    assert [Answers(path).get(key) for key in "abc"] == ["one\ntwo\u2028\ud800", "", None]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_nothing_is_written_before_there_is_an_answer(tmp_path: Path) -> None:
    Answers(tmp_path / "answers.jsonl")
    assert not list(tmp_path.iterdir())


@given(st.integers(0, 200))
def test_a_torn_line_is_dropped_and_the_rest_stays(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("torn") / "answers.jsonl"
    answers = Answers(path)
    for key in "abc":
        answers.add(key, key * 20)
    data = path.read_bytes()
    path.write_bytes(data[: max(0, len(data) - cut)])
    whole = path.read_bytes().count(b"\n")
    again = Answers(path)
    assert len(again) == whole
    again.add("d", "new")
    assert Answers(path).get("d") == "new" and len(Answers(path)) == whole + 1


@pytest.mark.parametrize("text", ["my only notes", "{}\n", '{"id": "1"}', '{"key": 1, "answer": "x"}\n', "a\nb"])
def test_another_file_is_left_as_it_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match="holds no answers"):
        Answers(path)
    assert path.read_text() == text
