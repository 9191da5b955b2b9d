"""What must go and what must stay; contradictions are refused with both places named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from expunge.dialogue import Dialogue, Message
from expunge.errors import InputError
from expunge.judges.verdict import Judged, Span, Verdict, read_verdicts, write_verdicts
from expunge.selection import read_forget, read_normal, split


def dialogue(question: str, answer: str, **more: Any) -> Dialogue:
    return Dialogue((Message("user", question), Message("assistant", answer)), **more)


def judged(question: str, answer: str, label: str = "privacy", **more: Any) -> Judged:
    verdict = Verdict(label, float(label not in ("clean", "unknown")), "test", "1")  # type: ignore[arg-type]
    return Judged(dialogue(question, answer, **more), (verdict,))


ORDINARY = [dialogue(f"What is {i} plus 1?", f"It is {i + 1}.") for i in range(40)]


def test_flagged_goes_clean_stays_unknown_is_neither() -> None:
    rows = [judged("a?", "1"), judged("a?", "1"), judged("b?", "2", "clean"), judged("c?", "3", "unknown")]
    found = split(rows, ORDINARY[:2])
    assert [j.dialogue.question for j in found.forget] == ["a?"], "equal dialogues count once"
    assert [d.question for d in found.normal] == ["What is 0 plus 1?", "What is 1 plus 1?", "b?"]


def test_contradictions_name_both_places() -> None:
    bad = judged("a?", "1", source="log.jsonl:4")
    with pytest.raises(InputError, match=r"n\.jsonl:2: this dialogue is to be forgotten too \(log\.jsonl:4\)"):
        split([bad], [dialogue("a?", "1", source="n.jsonl:2")])
    with pytest.raises(InputError, match=r"n\.jsonl:3: another response to this prompt .*\(log\.jsonl:4\)") as caught:
        split([bad], [dialogue("a?", "2", source="n.jsonl:3")])
    assert "expected" in caught.value.remedy


def test_a_clean_answer_to_a_flagged_prompt_is_left_out_of_the_normal_set() -> None:
    found = split([judged("a?", "1"), judged("a?", "I can't say.", "clean")], ORDINARY[:1])
    assert [d.question for d in found.normal] == ["What is 0 plus 1?"]


def test_nothing_to_forget_and_nothing_to_keep() -> None:
    with pytest.raises(InputError, match="no dialogue is flagged"):
        split([judged("a?", "1", "clean")], ORDINARY)
    with pytest.raises(InputError, match="there is no normal dialogue"):
        split([judged("a?", "1")], [])


def test_neighbours_have_the_subject_or_the_form_of_a_flagged_dialogue() -> None:
    forms = [dialogue(f"What is {name}'s phone number?", f"{name}'s number is {i}.") for i, name in enumerate("BCDE")]
    same = dialogue("Where does A live?", "In Mill Street.", subject="A")
    bad = judged("What is A's phone number?", "A's number is 9.", subject="A")
    found = split([bad], [*ORDINARY, *forms, same], nearest=4)
    assert {found.normal[i].question for i in found.neighbours} == {d.question for d in (*forms, same)}


def test_plain_dialogues_are_a_deletion_request(tmp_path: Path) -> None:
    path = tmp_path / "delete.jsonl"
    path.write_text('{"question": "a?", "answer": "1"}\n')
    (found,) = read_forget(path, label="harmful")
    assert found.flagged and found.label == "harmful" and found.verdict.judge == "request"
    path.write_text('{"question": "a?"}\n')
    with pytest.raises(InputError, match=r"delete\.jsonl:1: a dialogue to forget needs its response"):
        read_forget(path)
    with pytest.raises(InputError, match="a normal dialogue needs its response"):
        read_normal([path])


def test_verdicts_read_back_as_they_were(tmp_path: Path) -> None:
    spans = (Span(0, 1), Span(2, 4))
    rows = [
        Judged(dialogue("a?", "1 22", subject="A"), (Verdict("privacy", 0.5, "p", "1", "why", spans, ("x",)),)),
        judged("b?", "2", "clean"),
    ]
    write_verdicts(tmp_path / "v.jsonl", rows)
    assert read_verdicts(tmp_path / "v.jsonl") == rows
    assert (tmp_path / "v.jsonl").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"verdicts": []}, "no verdicts"),
        ({"verdicts": [{"label": "privacy"}]}, "a verdict needs"),
        ({"verdicts": [{"label": "bad", "score": 1, "judge": "j", "version": "1"}]}, "unknown label 'bad'"),
        ({"verdicts": [{"label": "clean", "score": 7, "judge": "j", "version": "1"}]}, "score 7.0 is not in"),
        (
            {"verdicts": [{"label": "privacy", "score": 1, "judge": "j", "version": "1", "spans": [[0, 9]]}]},
            "span lies",
        ),
    ],
)
def test_half_written_verdicts_are_refused_by_line(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "v.jsonl"
    row = judged("a?", "1").row()
    path.write_text(json.dumps(row) + "\n" + json.dumps(row | change) + "\n")
    with pytest.raises(InputError, match=rf"v\.jsonl:2: .*{message}"):
        read_verdicts(path)


def test_the_decisive_verdict_is_the_surest_fault() -> None:
    low, high = Verdict("privacy", 0.4, "a", "1", spans=(Span(0, 1),)), Verdict("harmful", 0.9, "b", "1")
    clean, unknown = Verdict("clean", 0.0, "c", "1"), Verdict("unknown", 0.0, "d", "1")
    said = dialogue("q", "abc")
    assert Judged(said, (clean, low, high)).label == "harmful"
    assert Judged(said, (low, high)).spans == (), "one judge flags the whole response"
    assert Judged(said, (low, clean)).spans == (Span(0, 1),)
    assert Judged(said, (unknown, clean)).label == "clean" and Judged(said, (unknown,)).label == "unknown"
