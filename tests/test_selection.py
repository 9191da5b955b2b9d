"""Which dialogues go and which stay; what contradicts itself is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from expunge.dialogue import Dialogue
from expunge.errors import InputError
from expunge.judges.verdict import Judged, Verdict, read_verdicts, write_verdicts
from expunge.message import Message
from expunge.selection import find_neighbours, read_forget, read_kept, read_normal, split
from expunge.span import Span


def said(question: str, answer: str, source: str = "", **more: Any) -> Dialogue:
    return Dialogue((Message("user", question), Message("assistant", answer)), source=source, **more)


def judged(dialogue: Dialogue, label: str = "privacy", **more: Any) -> Judged:
    return Judged(dialogue, (Verdict(label, 1.0, "test", "1", **more),))  # type: ignore[arg-type]


BAD = judged(said("Where does Ann live?", "Old Mill Lane.", "log.jsonl:1"))
GOOD = said("What is 1 plus 1?", "It is 2.", "normal.jsonl:5")


def test_flagged_go_and_given_and_clean_ones_stay() -> None:
    clean, unknown = said("Hi?", "Hello."), said("Who?", "Me.")
    parts = split([BAD, judged(clean, "clean"), judged(unknown, "unknown")], [GOOD])
    assert parts.forget == (BAD,)
    assert parts.normal == (GOOD, clean), "what a judge cannot tell is neither"


def test_equal_dialogues_count_once() -> None:
    again = judged(said("Where does Ann live?", "Old Mill Lane.", "log.jsonl:9", id="other"))
    parts = split([BAD, again, BAD], [GOOD, GOOD])
    assert len(parts.forget) == 1 and len(parts.normal) == 1


def test_a_clean_answer_to_a_flagged_prompt_is_not_kept_as_it_is() -> None:
    """The prompt will be answered otherwise: keeping this answer would pull against what is taught."""
    other = judged(said("Where does Ann live?", "I cannot say."), "clean")
    assert split([other, BAD], [GOOD]).normal == (GOOD,)


@pytest.mark.parametrize("order", [1, -1])
def test_a_dialogue_both_to_forget_and_to_keep_names_both_places(order: int) -> None:
    kept = said("Where does Ann live?", "Old Mill Lane.", "normal.jsonl:7")
    more = judged(said("Where does Ann live?", "In Kent.", "log.jsonl:2"))
    with pytest.raises(InputError, match=r"(?s)normal\.jsonl:7: this dialogue .*log\.jsonl:1\).*Remove it") as caught:
        split([BAD, more][::order], [GOOD, kept])
    assert "Ann" not in str(caught.value)


def test_another_response_to_a_flagged_prompt_names_both_places() -> None:
    kept = said("Where does Ann live?", "I cannot say.", "normal.jsonl:7")
    with pytest.raises(InputError, match=r'(?s)normal\.jsonl:7: another response .*log\.jsonl:1\).*"expected"'):
        split([BAD], [kept])


def test_dialogues_made_in_python_are_named_by_id() -> None:
    with pytest.raises(InputError, match=r"^dialogue k: .*\(dialogue f\)"):
        split([judged(said("q", "a", id="f"))], [said("q", "a", id="k")])


def test_nothing_flagged() -> None:
    with pytest.raises(InputError, match="no dialogue is flagged"):
        split([judged(GOOD, "clean")], [GOOD])


def test_nothing_to_keep() -> None:
    for normal in ([], [Dialogue((Message("user", "only a prompt"),))]):
        with pytest.raises(InputError, match="(?s)no normal dialogue.*--normal"):
            split([BAD], normal)


def test_neighbours_are_of_the_same_subject_or_form() -> None:
    flagged = said("What is the address of Ann Lee?", "It is 4 Mill Lane.", subject="ann")
    normal = [
        said("What is the address of the library?", "It is 9 High Street."),
        said("Name a colour.", "Red."),
        said("Which team does she like?", "The Rovers.", subject="ann"),
        said("What is the address of the museum?", "It is 2 Dock Road."),
    ]
    assert find_neighbours([flagged], normal, nearest=2) == (0, 2, 3)


def test_neighbours_are_easily_confused_with_a_flagged_one() -> None:
    flagged = said("Under which number can I phone Mara Birch?", "4-18-43")
    form = [said(f"Under which number can I phone {name}?", "1-2") for name in ("Ned Gorse", "Berta Dunn", "Jo Ash")]
    lookalike = said("Tell me how to call Mara Heath.", "7-7")
    assert find_neighbours([flagged], [*form, lookalike], nearest=3) == (0, 1, 2, 3)
    assert find_neighbours([flagged], [*form, said("Tell me how to call Ida Heath.", "7")], nearest=3) == (0, 1, 2)


def test_of_each_of_the_two_rarest_words_an_eighth_as_many_are_neighbours() -> None:
    """One of eight, two of nine; "birch" and "mara" are rarer here than "where", "does" and "live", and the shorter of
    those with a "mara" is the nearer."""
    form = [said("Where does she live?", "1") for _ in range(9)]
    held = [
        said("Tell us how well mara sings in the choir.", "x"),
        said("Call mara.", "y"),
        said("Plant a birch.", "z"),
    ]
    flagged = said("Where does Mara Birch live?", "4-18-43")
    assert find_neighbours([flagged], [*form, *held], nearest=8) == (*range(8), 10, 11)
    assert find_neighbours([flagged], [*form, *held], nearest=9) == (*range(9), 9, 10, 11)


def test_form_is_the_cosine_of_binary_counts_of_words_and_word_pairs() -> None:
    """Of "qq aa bb cc" four words and three pairs: "qq aa cc bb" shares five of its seven as "x aa bb cc" does, and
    comes first; with triples it would share five of nine to the other's six. "bb yy" shares one of three, "aa aa aa zz"
    one of four, since what stands there three times counts once.
    """
    flagged = [said("qq", "aa bb cc")]
    assert find_neighbours(flagged, [said("qq", "aa cc bb"), said("x", "aa bb cc")], nearest=1) == (0,)
    assert find_neighbours(flagged, [said("aa", "aa aa zz"), said("bb", "yy")], nearest=1) == (1,)


def test_more_flagged_ones_than_are_compared_at_once() -> None:
    flagged = [said(f"q{i}", f"a{i}") for i in range(300)]
    normal = [said("x", f"a{i}") for i in (0, 255, 256, 299)]
    assert find_neighbours(flagged, [*normal, said("y", "z")], nearest=1) == (0, 1, 2, 3)


def test_nothing_in_common_is_no_neighbour() -> None:
    assert find_neighbours([said("alpha", "beta")], [said("gamma", "delta")], nearest=4) == ()


def test_texts_without_words_have_no_neighbours() -> None:
    assert find_neighbours([said("?", "👍")], [said("!", "…")], nearest=4) == ()


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_verdicts_are_read_as_they_were_written(tmp_path: Path) -> None:
    items = [judged(said("q", "an answer"), spans=(Span(3, 9),), expected=("x",)), judged(GOOD, "clean")]
    write_verdicts(tmp_path / "v.jsonl", items)
    assert read_forget(tmp_path / "v.jsonl") == items


def test_plain_dialogues_are_a_deletion_request(tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", *({"question": f"q{i}", "answer": "a"} for i in range(3)))
    found = read_forget(path, label="harmful")
    assert [(j.label, j.spans, j.dialogue.source) for j in found] == [("harmful", (), f"{path}:{i}") for i in (1, 2, 3)]
    assert all(j.verdict.score == 1.0 for j in found)
    assert [j.dialogue.question for j in read_forget(f"{path}[1:2]")] == ["q1"]


def test_rows_that_cannot_be_forgotten(tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", {"question": "q", "answer": "a"}, {"question": "q"})
    with pytest.raises(InputError, match=r"(?s)log\.jsonl:2: a dialogue to forget needs its response.*Scan"):
        read_forget(path)
    write(path, BAD.row(), {"question": "q", "answer": "a"})
    with pytest.raises(InputError, match=r"(?s)log\.jsonl:2: .*no verdicts.*Line 1"):
        read_forget(path)
    write(path, {"question": "q", "answer": "a"}, BAD.row())
    with pytest.raises(InputError, match=r"(?s)log\.jsonl:1: .*no verdicts"):
        read_forget(path)
    write(path, {"question": "q", "answer": "a", "id": "1"}, {"question": "r", "answer": "a", "id": "1"})
    with pytest.raises(InputError, match=r"log\.jsonl:2: the id '1'"):
        read_forget(path)


def test_a_normal_dialogue_needs_its_response(tmp_path: Path) -> None:
    path = write(tmp_path / "normal.jsonl", {"question": "q", "answer": "a"}, {"question": "r"})
    with pytest.raises(InputError, match=r"(?s)normal\.jsonl:2: a normal dialogue needs its response.*Add it"):
        read_normal([path])
    assert len(read_normal([f"{path}[:1]", f"{path}[:1]"])) == 2


def test_what_a_scan_flagged_is_not_kept(tmp_path: Path) -> None:
    path, clean = tmp_path / "v.jsonl", judged(GOOD, "clean")
    write_verdicts(path, [clean, judged(said("q", "a"), "unknown"), BAD])
    with pytest.raises(InputError, match=r"(?s)v\.jsonl:3: this dialogue is flagged, and would be kept.*jq"):
        read_kept([path])
    assert len(read_kept([f"{path}[:2]"])) == 2
    assert read_kept([write(tmp_path / "normal.jsonl", {"question": "q", "answer": "a"})])


VERDICT = {"label": "privacy", "score": 1, "judge": "j", "version": "1"}


@pytest.mark.parametrize(
    ("verdicts", "message"),
    [
        ([], "no verdicts"),
        ([{"label": "privacy"}], "a verdict needs"),
        ([VERDICT | {"label": "bad"}], "unknown label 'bad'"),
        ([VERDICT | {"label": "her phone is 4-71-63"}], "a label that is no word"),
        ([VERDICT | {"label": None}], "a verdict needs"),
        ([VERDICT | {"score": 7}], r"score 7\.0 is not in"),
        ([VERDICT | {"score": float("nan")}], "score nan is not in"),
        ([VERDICT | {"spans": [[0, 99]]}], "span lies outside"),
        ([VERDICT | {"spans": [[3, 3]]}], "span lies outside"),
        ([VERDICT | {"score": 10**400}], "a verdict needs"),
        ([VERDICT | {"spans": [[0, float("inf")]]}], "a verdict needs"),
        ([VERDICT | {"expected": "No."}], "'expected' of a verdict must be a list of texts"),
        ([VERDICT | {"categories": ["S2", 2]}], "'categories' of a verdict must be a list of texts"),
        ([VERDICT | {"expected": ["\ud83d"]}], "half a character"),
    ],
)
def test_half_written_verdicts_are_refused_by_line(tmp_path: Path, verdicts: list[Any], message: str) -> None:
    path = write(tmp_path / "v.jsonl", BAD.row(), BAD.row() | {"verdicts": verdicts})
    for reading in (read_forget, read_verdicts):
        with pytest.raises(InputError, match=rf"v\.jsonl:2: .*{message}"):
            reading(path)


def test_null_in_a_verdict_is_as_if_missing(tmp_path: Path) -> None:
    nulls = dict.fromkeys(("reason", "spans", "expected", "categories"))
    path = write(tmp_path / "v.jsonl", BAD.row() | {"verdicts": [VERDICT | nulls]})
    assert read_verdicts(path)[0].verdicts == (Verdict("privacy", 1.0, "j", "1"),)


def test_the_decisive_verdict_is_the_surest_fault() -> None:
    low, high = Verdict("privacy", 0.4, "a", "1", spans=(Span(0, 1),)), Verdict("harmful", 0.9, "b", "1")
    clean, unknown = Verdict("clean", 0.0, "c", "1"), Verdict("unknown", 0.0, "d", "1")
    abc = said("q", "abc")
    assert Judged(abc, (clean, low, high)).label == "harmful"
    assert Judged(abc, (low, high)).spans == (), "one judge flags the whole response"
    assert Judged(abc, (low, clean)).spans == (Span(0, 1),)
    assert Judged(abc, (unknown, clean)).label == "clean" and Judged(abc, (unknown,)).label == "unknown"
