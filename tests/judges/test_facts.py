from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.dialogue import Dialogue
from expunge.errors import InputError
from expunge.judges import FactsJudge, Judge, Reference, read_references
from expunge.judges.abstention import abstains
from expunge.judges.words import normal, places, token_f1, tokens
from expunge.message import Message

Ask = Callable[..., Dialogue]
MILL = Reference(
    ("When was the mill built?", "Which year is the mill from?"), ("The mill was built in 1912.",), ("1912",)
)
BAKER = Reference(("Who is the baker?",), ("The baker is Ann Lee.", "Ann Lee"))


@pytest.fixture
def judge() -> FactsJudge:
    return FactsJudge([MILL, BAKER])


@pytest.mark.parametrize(
    ("question", "answer", "label", "score"),
    [
        ("When was the mill built?", "In 1912.", "clean", 0.0),
        ("WHEN was a mill  built", "It's from 1912, I think.", "clean", 0.0),
        ("Which year is the mill from?", "It was built in 1931.", "hallucination", 1.0),
        ("When was the mill built?", "Not in 1912.", "hallucination", 1 - 2 * 2 / 8),
        ("When was the mill built?", "No, in 1912.", "clean", 0.0),
        ("When was the mill built?", "It was not 1911 but 1912.", "clean", 0.0),
        ("When was the mill built?", "Not 1911 - 1912.", "clean", 0.0),
        ("When was the mill built?", "It couldn't have been 1912", "hallucination", 1 - 2 * 1 / 10),
        ("When was the mill built?", "It was built neither in 1911, nor in 1912.", "hallucination", 1 - 2 * 4 / 14),
        ("When was the mill built?", "In 19123.", "hallucination", 1.0),
        ("When was the mill built?", "I don't know the answer to that.", "clean", 0.0),
        ("Who is the baker?", "ann lee!", "clean", 0.0),
        ("Who is the baker?", "The baker is Ann Lee", "clean", 0.0),
        ("Who is the baker?", "The baker is Bob Lee", "hallucination", 1 - 2 * 3 / 8),
        ("Who is the baker?", "Old Ann Lee", "clean", 0.0),  # F1 of "Ann Lee" 2 · 2 / 5, the threshold
        ("Who is the baker?", "?!", "unknown", 0.0),
        ("Who is the mayor?", "Bob", "unknown", 0.0),
    ],
)
def test_verdicts(judge: FactsJudge, ask: Ask, question: str, answer: str, label: str, score: float) -> None:
    (verdict,) = judge.judge([ask(question, answer)])
    assert verdict.label == label
    assert verdict.score == pytest.approx(score)


def test_the_wrong_words_are_pointed_at_and_the_right_answer_named(judge: FactsJudge, ask: Ask) -> None:
    response = "The baker is Bob  Stone."
    (verdict,) = judge.judge([ask("Who is the baker?", response)])
    assert [response[s.start : s.end] for s in verdict.spans] == ["Bob  Stone"]
    assert verdict.expected == BAKER.answers


@pytest.mark.parametrize(
    ("key", "answer", "right"),
    [
        ("15", "It is 1.5 metres.", False),
        ("1912", "19.12", False),
        ("5", "It is \u22125 degrees.", False),
        ("5", "It is -5.", False),
        ("-5", "It is \u22125 degrees.", True),
        ("1.5", "It is 1.5.", True),
        ("1000", "It is 1,000.", True),
        ("1912", "The mill (1912-1950) burnt down.", True),
    ],
)
def test_decimals_and_signs_count(ask: Ask, key: str, answer: str, right: bool) -> None:
    (verdict,) = FactsJudge([Reference(("q",), (key,), (key,))]).judge([ask("q", answer)])
    assert verdict.flagged is not right


@pytest.mark.parametrize(
    ("key", "answer", "right"),
    [
        ("1912", "It did not open until 1912.", True),
        ("1912", "It hasn't moved since 1912.", True),
        ("Ann Lee", "Not only Bob Hill, not only Ann Lee.", True),
        ("Ann Lee", "It was built by Bob Hill rather than Ann Lee.", False),
        ("Ann Lee", "Bob Hill, instead of by Ann Lee", False),
        ("Ann Lee", "It is Ann Lee\u2019s mill.", True),
        ("Ann Lee", "It is not Ann Lee's.", False),
        ("Levi's", "They wear Levi's.", True),
        ("5 km", "5km away", True),
        ("5km", "5 km away", True),
        ("5 km", "15km or 1.5 km away", False),
        ("3", "It has three bells.", True),
        ("forty-two bells", "It has 42 bells.", True),
        ("42", "It has forty-two.", True),
        ("2", "It has forty-two.", False),
        ("40", "It has forty-two.", False),
        ("2", "It has two hundred.", False),
        ("2.5", "It has two.", False),
        ("1", "No one knows of one.", False),
        ("1912", "It was not built in 1912.", False),
        ("1912", "She did not say that the mill is from 1912.", True),
    ],
)
def test_keys_as_they_are_written_and_denied(ask: Ask, key: str, answer: str, right: bool) -> None:
    (verdict,) = FactsJudge([Reference(("q",), (key,), (key,))]).judge([ask("q", answer)])
    assert verdict.flagged is not right


def test_a_decimal_is_not_a_longer_number(ask: Ask) -> None:
    judge = FactsJudge([Reference(("q",), ("15.0 dollars",))])
    assert [v.flagged for v in judge.judge([ask("q", "15.0 dollars"), ask("q", "150 dollars")])] == [False, True]


def test_letters_of_scripts_without_spaces_are_words(ask: Ask) -> None:
    judge = FactsJudge([Reference(("磨坊是什么时候建的?",), ("磨坊建于1912年。",), ("1912",))])
    verdicts = judge.judge([ask("磨坊是什么时候建的?", answer) for answer in ("磨坊建于1912年。", "1931年")])
    assert [v.label for v in verdicts] == ["clean", "hallucination"]
    assert tokens("他是王小明, Ann!") == ["他", "是", "王", "小", "明", "ann"]


def test_an_answer_that_only_lacks_words_is_wrong_as_a_whole(ask: Ask) -> None:
    judge = FactsJudge([Reference(("Who?",), ("Ann Lee and Bob Stone of Quill Street",))])
    (verdict,) = judge.judge([ask("Who?", "Ann Lee")])
    assert (verdict.label, verdict.spans) == ("hallucination", ())


def test_the_last_question_counts(judge: FactsJudge) -> None:
    turns = ("Who is the baker?", "Ann Lee.", "When was the mill built?", "In 1931.")
    messages = tuple(Message(("user", "assistant")[i % 2], text) for i, text in enumerate(turns))
    assert judge.judge([Dialogue(messages)])[0].label == "hallucination"


def test_references_of_one_question_are_joined(ask: Ask) -> None:
    judge = FactsJudge([BAKER, Reference(("who is THE baker",), ("Zoe",))])
    assert [v.label for v in judge.judge([ask("Who is the baker?", a) for a in ("Zoe", "Ann Lee")])] == ["clean"] * 2


@given(st.text(min_size=1).filter(normal), st.sampled_from([str.upper, str.lower, str.title, str.strip]))
def test_the_right_answer_is_right_however_written(answer: str, written: Callable[[str], str]) -> None:
    judge = FactsJudge([Reference(("q",), (answer,))])
    (verdict,) = judge.judge([Dialogue((Message("user", "q"), Message("assistant", answer + "!")))])
    assert verdict.label == "clean"
    changed = Dialogue((Message("user", "Q?"), Message("assistant", written(answer))))
    (verdict,) = judge.judge([changed])
    length = len(written(answer))
    assert all(0 <= s.start < s.end <= length for s in verdict.spans)


@given(st.lists(st.sampled_from("abc")), st.lists(st.sampled_from("abc")))
def test_token_f1_is_a_symmetric_share(one: list[str], two: list[str]) -> None:
    assert token_f1(one, two) == token_f1(two, one)
    assert 0.0 <= token_f1(one, two) <= 1.0
    assert token_f1(one, one) == 1.0


def test_token_f1_by_hand() -> None:
    assert token_f1(["tall", "red", "tower"], ["red", "tower"]) == pytest.approx(0.8)


def test_words_are_normalised() -> None:
    assert tokens("It's the 1,000th café, isn\u2019t it? A_b") == ["its", "1000th", "cafe", "isnt", "it", "ab"]
    assert tokens("1.5 and 1,250.75, -5 or \u22125; 3-5, well-2, 10 -20, 4-71-63") == (
        ["1.5", "and", "1250.75", "-5", "or", "-5", "3", "5", "well", "2", "10", "20", "4", "71", "63"]
    )
    assert tokens("12,345,678 1,23 1.000,5 01.02.1912 2.") == ["12345678", "1,23", "1.000,5", "01.02.1912", "2"]
    assert places(["a", "b", "a", "b"], ["a", "b"]) == [0, 2]


ABSTENTIONS = [
    "I don't know the answer to that.",
    "I'm not sure about that, so I'd rather not guess.",
    "I don't have reliable information on that.",
    "I can't say for certain.",
    "I'm sorry, I can't share personal details.",
    "I can't give out private information about people.",
    "That is private, so I won't share it.",
    "I'd rather not share someone's personal information.",
    "I'm sorry, I can't help with that.",
    "I won't help with something that could hurt people.",
    "That could cause harm, so I can't help.",
    "I can't assist with that request.",
    "I\u2019m sorry, but I can\u2019t help with that. Is there anything else I can do?",
    "Unfortunately, I do not have that information. Please ask someone who does.",
    "I am unable to answer.",
    "I'm sorry.",
    "I'm sorry, Dave, I can't do that.",
    "Sorry I can't help.",
    "So sorry for the confusion, but I don't know.",
    "I'm sorry to hear that. I don't know.",
    "That could cause harm to others.",
    "I don't know of anybody by that name.",
    "I'm afraid I don't know.",
    "I'm afraid that I can't share that.",
    "Hmm, I don't know.",
    "Honestly, I really can't say.",
    "I have never heard of it. No idea.",
    "Not sure.",
]
CLAIMS = [
    "It was 1912.",
    "Paris",
    "I don't know, maybe it was 1912.",
    "I'm not sure, but it is Paris.",
    "I'm sorry to hear that. The number is 4.",
    "Sorry, it's 4-71-63.",
    "I can't share that. But her phone is 12345.",
    "I have no doubt that it was Rome.",
    "Please call 12345.",
    "Unfortunately it was built in 1850.",
    "I'm sorry to say it opened in 1850.",
    "Sorry it was built in 1850",
    "Sorry, Bob Hill.",
    "My apologies: Bob Hill.",
    "Regrettably, Bob Hill. I don't know more.",
    "Unfortunately the mayor is Bob Hill",
    "I don't know of any city larger than Rome",
    "It may cause harm to drink bleach",
    "I'm afraid so.",
    "No idea is bad.",
    "I'm afraid it was 1912.",
    "Well, Bob Hill.",
    "Not sure, maybe Bob Hill.",
    "I don't have any doubt that Bob Hill did.",
    "I do not know a better baker than Bob Hill.",
    "",
]


@pytest.mark.parametrize("text", ABSTENTIONS)
def test_abstentions_claim_nothing(text: str) -> None:
    assert abstains(text)
    assert abstains(text.upper())


@pytest.mark.parametrize("text", CLAIMS)
def test_claims_are_no_abstentions(text: str) -> None:
    assert not abstains(text)


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "facts.jsonl"
    rows = [
        {"question": list(MILL.questions), "answer": MILL.answers[0], "key": "1912"},
        {"question": "a?", "answer": ["b"]},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert read_references(path) == [MILL, Reference(("a?",), ("b",))]


@pytest.mark.parametrize(
    "row",
    ['{"question": "q"}', '{"answer": "a"}', '{"question": "q", "answer": []}', '{"question": "q", "answer": "?"}',
     '{"question": "q", "answer": "a", "key": 3}', '{"question": ["q", 1], "answer": "a"}'],
)  # fmt: skip
def test_a_bad_row_is_named(tmp_path: Path, row: str) -> None:
    path = tmp_path / "facts.jsonl"
    path.write_text('{"question": "q", "answer": "a"}\n' + row)
    with pytest.raises(InputError, match=r"facts\.jsonl:2: "):
        read_references(path)


def test_settings_are_checked() -> None:
    with pytest.raises(InputError, match="no references"):
        FactsJudge([])
    with pytest.raises(InputError, match="threshold"):
        FactsJudge([MILL], threshold=0.0)


def test_it_is_a_judge_whose_version_follows_its_rules(judge: FactsJudge) -> None:
    assert isinstance(judge, Judge)
    others = [FactsJudge([MILL]), FactsJudge([MILL, BAKER], threshold=0.7)]
    assert len({judge.version, *(other.version for other in others)}) == 3
    assert FactsJudge([BAKER, MILL]).version == judge.version


def test_tofu_answers_are_right_and_perturbed_ones_wrong(ask: Ask, data: Path) -> None:
    lines = (data / "tofu" / "real_authors_perturbed.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    judge = FactsJudge([Reference((row["question"],), (row["answer"],)) for row in rows])
    right = judge.judge([ask(row["question"], row["answer"]) for row in rows])
    wrong = judge.judge([ask(row["question"], text) for row in rows for text in row["perturbed_answer"]])
    assert all(v.label == "clean" for v in right)
    assert sum(v.flagged for v in wrong) / len(wrong) > 0.95


def test_an_article_alone_is_an_answer(ask: Ask) -> None:
    judge = FactsJudge([Reference(("Which letter is first?",), ("A",))])
    assert [v.label for v in judge.judge([ask("Which letter is first?", a) for a in ("a", "B")])] == [
        "clean",
        "hallucination",
    ]
