"""The index: every row checked once, rows read back by offset, filters, and clear refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from made_up_verdicts import MakeFile, made_up

from expunge.errors import InputError
from expunge.judges.verdict import LABELS, Verdict, read_verdicts
from expunge.review.index import Index, Query


def undecided(index: Index) -> np.ndarray:
    return np.full(len(index), -1, dtype=np.int8)


def test_rows_come_back_as_read_verdicts_gives_them(make_file: MakeFile) -> None:
    path = make_file(30)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n \n", 3))  # BOM, CRLF, blank lines
    index = Index(path)
    assert [index.read(n) for n in range(len(index))] == read_verdicts(path)
    assert index.read(2).dialogue.source == f"{path}:5"


def test_filters_agree_with_the_verdicts(make_file: MakeFile) -> None:
    path = make_file(60)
    index, all_rows = Index(path), read_verdicts(path)
    person = undecided(index)
    person[[0, 1]] = LABELS.index("clean"), LABELS.index("harmful")

    def found(query: Query) -> list[int]:
        return index.find(query, person).tolist()

    assert found(Query()) == list(range(60))
    for label in LABELS:
        assert found(Query(label=label)) == [n for n, j in enumerate(all_rows) if j.label == label]
    assert found(Query(low=0.6, high=0.7)) == [n for n, j in enumerate(all_rows) if 0.6 <= j.verdict.score <= 0.7]
    guard = [n for n, j in enumerate(all_rows) if any(v.flagged and v.judge == "guard" for v in j.verdicts)]
    assert found(Query(judge="guard")) == guard
    assert found(Query(judge="nobody")) == []
    known = [{v.label for v in j.verdicts} - {"unknown"} for j in all_rows]
    assert found(Query(disagreement=True)) == [n for n, labels in enumerate(known) if len(labels) > 1]
    assert found(Query(status="decided")) == [0, 1]
    assert found(Query(status="undecided", label="harmful")) == [n for n in found(Query(label="harmful")) if n > 1]
    assert found(Query(status="overruled")) == [0]  # 0 is private, 1 harmful
    assert index.judges == ("guard", "privacy")


def test_decisions_of_a_person_in_the_file_count(tmp_path: Path) -> None:
    row = made_up(0).row() | {"decision": Verdict("clean", 0.0, "person", "1").row()}
    path = tmp_path / "v.jsonl"
    path.write_text(json.dumps(row) + "\n" + json.dumps(made_up(1).row()) + "\n")
    index = Index(path)
    assert index.person.tolist() == [LABELS.index("clean"), -1]


@pytest.mark.parametrize(
    ("last", "message"),
    [
        ('{"id": "half', "v.jsonl:2: this last line is half-written"),
        ('{"id": "half\n', "v.jsonl:2: not a line of JSON"),
        ("[1]\n", "v.jsonl:2: a JSON object was expected, not list"),
        ('{"question": "a", "answer": "b"}\n', "v.jsonl:2: this row has no verdicts"),
        ('{"question": "secret text"}\n', "v.jsonl:2: this row has no verdicts"),
    ],
)
def test_a_file_that_is_none_is_refused_with_its_line(tmp_path: Path, last: str, message: str) -> None:
    path = tmp_path / "v.jsonl"
    path.write_text(json.dumps(made_up(0).row()) + "\n" + last)
    with pytest.raises(InputError) as caught:
        Index(path)
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


def test_no_file_and_an_empty_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        Index(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="cannot be read"):
        Index(tmp_path)
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(InputError, match="empty"):
        Index(tmp_path / "empty.jsonl")


def test_a_file_changed_under_way_is_not_read(make_file: MakeFile) -> None:
    path = make_file(3)
    index = Index(path)
    with path.open("a") as file:
        file.write("\n")
    with pytest.raises(InputError, match="changed after the review was opened"):
        index.read(0)
    with pytest.raises(InputError, match="no dialogue 3"):
        index.read(3)
