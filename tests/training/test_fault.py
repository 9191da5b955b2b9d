"""Which tokens are pushed away: what is at fault, but for what is right all the same or follows from the form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from expunge.dialogue import Dialogue
from expunge.encoding import Encoded
from expunge.errors import InputError
from expunge.judges.verdict import Judged, Verdict
from expunge.message import Message
from expunge.selection import Split
from expunge.span import Span
from expunge.training.form import Form
from expunge.training.material import Material


def rows(prompt: tuple[int, ...], *responses: tuple[int, ...]) -> list[Encoded]:
    return [Encoded(prompt, response, (True,) * len(response)) for response in responses]


def given(form: Form, prompt: tuple[int, ...], *response: int) -> list[bool]:
    return list(form.given(rows(prompt, response)[0]))


def test_what_follows_two_tokens_nine_times_in_ten_is_given() -> None:
    """After 1 2 always 5; after 2 5 a 6 nine times and a 9 once; after 5 6 always 7."""
    form = Form(rows((0, 1, 2), *[(5, 6, 7)] * 9, (5, 9)))
    assert given(form, (1, 2), 5, 6, 7) == [True, True, True]
    assert given(form, (1, 2), 5, 9) == [True, False]
    assert given(form, (1, 2), 6, 7) == [False, True], "after 2 6, never met, as after 6 alone"
    less = Form(rows((1, 2), *[(5, 6)] * 8, (5, 9)))
    assert given(less, (1, 2), 5, 6) == [True, False], "8 of 9"


def test_what_was_met_less_than_three_times_says_nothing() -> None:
    twice, thrice = (Form(rows((4, 3), *[(8, 8)] * n)) for n in (2, 3))
    assert given(twice, (4, 3), 8) == [False] and given(thrice, (4, 3), 8) == [True]
    assert given(thrice, (9, 4), 3) == [False], "what a prompt says is no form of responses"


def test_two_tokens_say_more_than_one() -> None:
    """After 2 alone a 5 is met 97 times in 100; after 1 2 three times a 6."""
    form = Form([*rows((1, 2), *[(6,)] * 3), *rows((4, 2), *[(5,)] * 97)])
    assert given(form, (1, 2), 6) == [True] and given(form, (1, 2), 5) == [False]
    assert given(form, (9, 2), 5) == [True] and given(form, (9, 2), 6) == [False]


def dialogue(question: str, answer: str, **more: Any) -> Dialogue:
    return Dialogue((Message("user", question), Message("assistant", answer)), **more)


class Letters:
    """A chat format whose tokens are letters."""

    def encode(self, item: Dialogue, spans: Sequence[Span] = ()) -> Encoded:
        text = item.response or ""
        fault = tuple(not spans or any(s.start <= i < s.end for s in spans) for i in range(len(text)))
        return Encoded((0, 0), tuple(map(ord, text)), fault)

    encode_whole = encode


def at_fault(said: str, wrong: str, expected: tuple[str, ...], normal: Sequence[str] = ("Yes.",), **more: Any) -> str:
    item = dialogue("q", said, expected=expected, **more)
    start = said.index(wrong)
    judged = Judged(item, (Verdict("privacy", 1.0, "test", "1", spans=(Span(start, start + len(wrong)),)),))
    apart = Split((judged,), tuple(dialogue(str(i), text) for i, text in enumerate(normal)))
    (row,) = Material.of(Letters(), apart).forget  # type: ignore[arg-type]
    return "".join(letter for letter, bad in zip(said, row.fault, strict=True) if bad)


def test_what_an_expected_output_says_too_after_the_same_is_not_at_fault() -> None:
    assert at_fault("In 1921.", "1921", ("No one knows.",)) == "1921"
    assert at_fault("In 1921.", "1921", ("No one knows.", "In 1874.")) == "921"
    assert at_fault("In 1921.", "1921", ("It was in 1921 or so.",)) == "1921", "after other letters"


def test_what_follows_from_the_form_is_not_at_fault_unless_all_does() -> None:
    normal = [f"{name}: {name}@x.y" for name in "bcd"]
    assert at_fault("a: a@x.y", "a@x.y", ("No.",), normal) == "a@"
    assert at_fault("a: a@x.y", "x.y", ("No.",), normal) == "x.y"


@pytest.mark.parametrize("expected", ["In 1921.", "In 1921, I think.", "In 1921"])
def test_what_is_expected_must_not_say_what_is_to_be_forgotten(expected: str) -> None:
    for more, named in (({"source": "log.jsonl:7"}, r"log\.jsonl:7"), ({"id": "x"}, "dialogue x")):
        with pytest.raises(InputError, match=rf"^{named}: its expected output says what is to be forgotten") as caught:
            at_fault("In 1921.", "1921", ("No.", expected), **more)
        assert "1921" not in str(caught.value)
