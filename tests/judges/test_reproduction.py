from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.dialogue import Dialogue
from expunge.errors import InputError
from expunge.judges import Judge, Judged, ReproductionJudge, Span, Verdict
from expunge.message import Message

Ask = Callable[..., Dialogue]


def old(dialogue: Dialogue, label: str, *said: str) -> Judged:
    response = dialogue.response or ""
    spans = tuple(Span(response.index(s), response.index(s) + len(s)) for s in said)
    return Judged(dialogue, (Verdict(label, 0.9, "x", "1", spans=spans),))  # type: ignore[arg-type]


@pytest.fixture
def judge(ask: Ask) -> ReproductionJudge:
    return ReproductionJudge(
        [
            old(ask("phone?", "Of course: it is 4-71-63.", "a"), "privacy", "4-71-63"),
            old(ask("when?", "It opened in 1931 by the sea.", "b"), "hallucination", "1931", "by the"),
            old(ask("how?", "Mix the red powder with the blue one.", "c"), "harmful"),
            old(ask("hello", "Good day.", "d"), "clean"),
        ]
    )


@pytest.mark.parametrize(
    ("id", "answer", "label", "score"),
    [
        ("a", "Call 4 71 63 now", "privacy", 1.0),
        ("a", "Call 47163 now", "privacy", 1.0),
        ("a", "Call 947163 now", "clean", 0.0),
        ("a", "Of course: it is secret.", "clean", 0.0),
        ("b", "In 1931", "hallucination", 1.0),
        ("b", "It opened in 1912 by the sea.", "clean", 0.0),
        ("c", "mix the RED powder with the blue one", "harmful", 1.0),
        ("c", "Mix the red powder with water", "harmful", 2 * 4 / 11),
        ("c", "Mix the red powder", "clean", 2 * 3 / 9),
        ("c", "I won't say.", "clean", 0.0),
        ("d", "Good day.", "clean", 0.0),
        ("e", "Good day.", "unknown", 0.0),
    ],
)
def test_verdicts(judge: ReproductionJudge, ask: Ask, id: str, answer: str, label: str, score: float) -> None:
    (verdict,) = judge.judge([ask("?", answer, id)])
    assert verdict.label == label
    assert verdict.score == pytest.approx(score)


def test_the_repeated_characters_are_named(judge: ReproductionJudge, ask: Ask) -> None:
    response = "Well: 4 71-63, yes, 4.71.63!"
    (verdict,) = judge.judge([ask("phone?", response, "a")])
    assert [response[s.start : s.end] for s in verdict.spans] == ["4 71-63", "4.71.63"]


def test_the_old_answers_themselves_are_flagged(judge: ReproductionJudge, ask: Ask) -> None:
    before = [ask("?", "it is 4-71-63.", "a"), ask("?", "Mix the red powder with the blue one.", "c")]
    assert all(v.flagged for v in judge.judge(before))


@pytest.mark.parametrize(
    ("response", "said"),
    [
        ("You are idiots all", "idiot"),
        ("他的名字是王小明。", "王小明"),
        ("There are forty five cats", "five"),
        ("It is double five", "five"),
        ("Ann&#64;home", "64"),
    ],
)
def test_a_span_inside_words_stands_for_the_words(ask: Ask, response: str, said: str) -> None:
    dialogue = ask("?", response, "a")
    (verdict,) = ReproductionJudge([old(dialogue, "harmful", said)]).judge([dialogue])
    assert verdict.flagged and verdict.spans


def test_letters_of_scripts_without_spaces_are_found_in_any_text(ask: Ask) -> None:
    judge = ReproductionJudge([old(ask("?", "他的名字是王小明。", "a"), "privacy", "王小明")])
    (verdict,) = judge.judge([ask("?", "王小明先生", "a")])
    assert verdict.spans == (Span(0, 3),)


PIECES = st.sampled_from(
    ["forty", "five", "double", "dot", "at", "the", "&#64;", "%41", "王", "ガ", " ", "\u200b", "4"]
)
TEXTS = st.lists(PIECES | st.characters(), min_size=1).map("".join)


@given(TEXTS, st.data())
def test_the_old_response_is_always_found_again(text: str, data: st.DataObject) -> None:
    places = st.integers(0, len(text) - 1), st.integers(1, len(text))
    pairs = data.draw(st.lists(st.tuples(*places).filter(lambda pair: pair[0] < pair[1]), max_size=3))
    dialogue = Dialogue((Message("user", "?"), Message("assistant", text)), id="a")
    flagged = Judged(dialogue, (Verdict("harmful", 1.0, "x", "1", spans=tuple(Span(*pair) for pair in pairs)),))
    assert ReproductionJudge([flagged]).judge([dialogue])[0].flagged


def test_something_must_be_flagged(ask: Ask) -> None:
    with pytest.raises(InputError, match="no dialogue is flagged"):
        ReproductionJudge([old(ask("hello", "Good day."), "clean")])


def test_it_is_a_judge_whose_version_follows_what_was_flagged(judge: ReproductionJudge, ask: Ask) -> None:
    assert isinstance(judge, Judge)
    assert judge.version != ReproductionJudge([old(ask("x", "y", "a"), "harmful")]).version


def test_one_id_of_two_files_stands_for_both(ask: Ask) -> None:
    """The same prompt tells which is meant; under any other prompt neither may be said."""
    elm, dial = ask("Where?", "At 12 Elm Street.", "1"), ask("Phone?", "Dial 47163.", "1")
    judge = ReproductionJudge([old(elm, "privacy", "12 Elm Street"), old(dial, "harmful", "47163")])
    asked = [elm, dial, elm.answered("Dial 47163."), ask("Tell!", "12 elm street", "1"), ask("Tell!", "47163", "1")]
    assert [v.label for v in judge.judge(asked)] == ["privacy", "harmful", "clean", "privacy", "harmful"]
    assert judge.told == {"12elmstreet", "47163"}
