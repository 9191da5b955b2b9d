"""The journal: whatever is cut off its end, no decision that was kept is lost."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.errors import InputError, OutputError
from expunge.judges.verdict import Verdict
from expunge.review.decision import CHOICES, decision
from expunge.review.journal import Journal, read_decisions

PRIVACY, CLEAN = decision({"label": "privacy", "spans": [[1, 4]]}), decision({"label": "clean"})
State = dict[int, tuple[str, Verdict]]

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
decisions = st.builds(
    lambda label, spans, expected, reason: decision(
        {"label": label, "spans": [[a, a + n] for a, n in spans], "expected": expected, "reason": reason}
    ),
    st.sampled_from(CHOICES),
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), max_size=3),
    st.lists(text, max_size=2),
    text,
)
events = st.lists(st.one_of(st.none(), st.tuples(st.integers(0, 4), decisions)), max_size=12)


@given(events, st.data())
def test_cut_at_any_byte_it_goes_on_from_the_last_whole_line(
    done: list[tuple[int, Verdict] | None], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "v.jsonl.decisions.jsonl"
        journal = Journal(path, "d")
        kept: list[tuple[int, State, int | None]] = [(path.stat().st_size, {}, None)]
        for event in done:
            if event:
                journal.decide(event[0], f"id {event[0]}", event[1])
            elif journal.decisions.last is None:
                continue
            else:
                journal.undo()
            kept.append((path.stat().st_size, dict(journal.decisions.now), journal.decisions.last))
        journal.close()
        cut = data.draw(st.integers(0, path.stat().st_size), label="bytes left")
        os.truncate(path, cut)
        expected = max((state for state in kept if state[0] <= cut), key=lambda s: s[0], default=(0, {}, None))
        again = Journal(path, "d")
        assert (again.decisions.now, again.decisions.last) == expected[1:]
        assert bool(again.note) == (cut not in [0, *(size for size, _, _ in kept)])
        again.decide(3, "id 3", PRIVACY)  # and it can be written on
        again.close()
        assert read_decisions(path, "d") == expected[1] | {3: ("id 3", PRIVACY)}


@given(events)
def test_undoing_everything_leaves_nothing(done: list[tuple[int, Verdict] | None]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "j", "d")
        for event in done:
            if event:
                journal.decide(event[0], "i", event[1])
        for _ in filter(None, done):
            journal.undo()
        assert journal.decisions.now == {}
        with pytest.raises(InputError, match="no decision to undo"):
            journal.undo()
        journal.close()


def test_it_is_private_and_each_line_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "j"
    path.touch(0o644)
    journal = Journal(path, "d")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    synced: list[int] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (synced.append(path.stat().st_size), fsync(handle))[1])
    journal.decide(0, "a", PRIVACY)
    journal.undo()
    assert len(synced) == 2 and synced[-1] == path.stat().st_size
    journal.close()


def test_a_decision_that_cannot_be_saved_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "j"
    journal = Journal(path, "d")
    journal.decide(0, "a", PRIVACY)
    before = path.read_bytes()

    def full(handle: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    write = os.write
    monkeypatch.setattr(
        os, "write", lambda handle, data: write(handle, data[:7]) if len(data) > 20 else full(handle, data)
    )
    with pytest.raises(OutputError, match="could not be saved"):
        journal.decide(1, "b", PRIVACY)
    with pytest.raises(OutputError, match="could not be saved"):
        journal.undo()
    assert path.read_bytes() == before
    assert journal.decisions.now == {0: ("a", PRIVACY)}
    monkeypatch.undo()
    journal.decide(1, "b", CLEAN)
    journal.close()
    assert read_decisions(path, "d") == {0: ("a", PRIVACY), 1: ("b", CLEAN)}


def test_another_verdict_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "j"
    Journal(path, "d").close()
    for reading in (Journal, read_decisions):
        with pytest.raises(InputError, match="the verdict file has changed since"):
            reading(path, "other")


def test_two_reviews_at_once_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    first = Journal(tmp_path / "j", "d")
    with pytest.raises(InputError, match="another review"):
        Journal(tmp_path / "j", "d")
    first.close()
    Journal(tmp_path / "j", "d").close()


@pytest.mark.parametrize(
    "line",
    [
        "no json",
        "[]",
        '{"position": "0", "id": "a", "label": "clean"}',
        '{"position": 0, "id": "a", "label": "unknown"}',
        '{"position": 0, "id": "a", "label": "privacy", "spans": [[1]]}',
        '{"position": 0, "id": "a", "undo": true}',
    ],
)
def test_a_damaged_line_is_named_and_nothing_is_dropped(tmp_path: Path, line: str) -> None:
    path = tmp_path / "j"
    Journal(path, "d").close()
    with path.open("a") as file:
        file.write(line + '\n{"position": 1, "id": "b", "label": "clean"}\n')
    before = path.read_bytes()
    with pytest.raises(InputError, match=":2: "):
        Journal(path, "d")
    assert path.read_bytes() == before
