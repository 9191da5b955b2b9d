"""A review from its start to the reviewed file, and the command."""

from __future__ import annotations

import json
import socket
import stat
import sys
from pathlib import Path

import pytest
from made_up_verdicts import MakeFile

from expunge import cli
from expunge.errors import InputError
from expunge.files import write_jsonl
from expunge.judges.verdict import read_verdicts
from expunge.review import Query, Review, reviewed
from expunge.review.journal import journal_path
from expunge.selection import read_forget
from expunge.span import Span


def run(monkeypatch: pytest.MonkeyPatch, *words: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["expunge", *map(str, words)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
        sys.exit(0)
    return int(caught.value.code or 0)


def test_what_a_person_says_stands_above_the_judges(make_file: MakeFile, tmp_path: Path) -> None:
    path = make_file(12)
    review = Review(path)
    confirmed = review.dialogue(0)["shown"]
    assert confirmed["label"] == "privacy" and confirmed["expected"] == ["I cannot give numbers."]
    review.decide(0, "d0", {"label": "clean", "spans": [[0, 2]], "expected": ["x"]})
    review.decide(
        1, "d1", {"label": "privacy", "spans": [[6, 12], [2, 5], [4, 8]], "expected": [" I won't. ", ""], "reason": "n"}
    )
    assert review.decide(9, "d9", {"label": "harmful"}) == {"position": 9, "person": "harmful", "decided": 3}
    assert review.find(Query(status="decided")) == {"positions": [0, 1, 9], "decided": "111"}
    assert review.rows([1])[0]["person"] == "privacy"
    assert review.dialogue(1)["shown"] == {
        "label": "privacy", "spans": [[2, 12]], "expected": ["I won't."], "reason": "n",
    }  # fmt: skip
    review.close()
    out = tmp_path / "reviewed.jsonl"
    write_jsonl(out, (judged.row() for _, judged in reviewed(path)))
    before, after = read_verdicts(path), read_verdicts(out)
    assert [j.label for j in after[:2]] == ["clean", "privacy"] and after[9].label == "harmful"
    assert after[1].spans == (Span(2, 12),) and after[1].expected == ("I won't.",)
    assert after[1].decision and (after[1].decision.judge, after[1].decision.score) == ("person", 1.0)
    assert after[0].decision and after[0].decision.spans == () and after[0].decision.score == 0.0
    assert [j.verdicts for j in after] == [j.verdicts for j in before]
    assert after[2:9] == before[2:9]
    flagged = {j.dialogue.id for j in before if j.flagged}
    assert {j.dialogue.id for j in read_forget(out) if j.flagged} == flagged - {"d0"} | {"d9"}


def test_undo_goes_back_to_what_was_before_also_after_a_new_start(make_file: MakeFile) -> None:
    path = make_file(3)
    review = Review(path)
    review.decide(0, "d0", {"label": "clean"})
    review.decide(0, "d0", {"label": "harmful"})
    review.decide(0, "d0", {"label": "harmful"})  # the same again: nothing to undo
    review.close()
    review = Review(path)
    assert review.done == 1 and review.dialogue(0)["person"] == "harmful"
    assert review.undo() == {"position": 0, "person": "clean", "decided": 1}
    assert review.undo() == {"position": 0, "person": None, "decided": 0}
    assert review.dialogue(0)["shown"]["label"] == "privacy"
    review.close()


@pytest.mark.parametrize(
    ("identity", "row"),
    [
        ("another", {"label": "clean"}),
        ("d0", {"label": "unknown"}),
        ("d0", {"label": "privacy", "spans": [[0, 9999]]}),
        ("d0", {"label": "privacy", "spans": [[5, 5]]}),
        ("d0", {"label": "privacy", "spans": [[0, True]]}),
        ("d0", {"label": "privacy", "expected": ["\ud83d"]}),
        ("d0", {"label": "privacy", "reason": None}),
    ],
)
def test_what_is_no_decision_is_refused_and_not_kept(
    make_file: MakeFile, identity: str, row: dict[str, object]
) -> None:
    review = Review(make_file(1))
    with pytest.raises(InputError):
        review.decide(0, identity, row)
    assert review.done == 0 and not review.journal.decisions.now
    review.close()


def test_the_command_writes_the_reviewed_file(
    make_file: MakeFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = make_file(12), tmp_path / "reviewed.jsonl"
    assert run(monkeypatch, "review", path, "--out", out) == 2
    assert "there are no decisions yet" in capsys.readouterr().err and not out.exists()
    review = Review(path)
    review.decide(0, "d0", {"label": "clean"})
    assert run(monkeypatch, "review", path, "--out", out, "--json") == 0  # also while a review is open
    assert json.loads(capsys.readouterr().out)["decided"] == 1
    review.close()
    assert stat.S_IMODE(out.stat().st_mode) == 0o600 and len(read_verdicts(out)) == 12
    assert run(monkeypatch, "review", path, "--out", out) == 2
    assert "nothing was overwritten" in capsys.readouterr().err


def test_a_changed_verdict_file_is_refused(
    make_file: MakeFile, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_file(3)
    Review(path).close()
    with path.open("a") as file:
        file.write("\n")
    assert run(monkeypatch, "review", path) == 2
    assert "the verdict file has changed since" in capsys.readouterr().err


def test_a_port_in_use_is_refused(
    make_file: MakeFile, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(monkeypatch, "review", make_file(1), "--port", str(port)) == 2
    assert f"the port {port} is in use" in capsys.readouterr().err


def test_without_the_extra_it_says_what_to_install(
    make_file: MakeFile, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    path = make_file(1)
    assert run(monkeypatch, "review", path) == 2
    assert "pip install 'expunge[review]'" in capsys.readouterr().err
    assert not journal_path(path).exists()
