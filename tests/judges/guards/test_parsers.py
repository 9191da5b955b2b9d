from __future__ import annotations

import pytest
from guard_transcripts import FAMILIES, TRANSCRIPTS, Read
from hypothesis import given
from hypothesis import strategies as st

from expunge.judges.guards.answer import Family
from expunge.judges.guards.granite_guardian import GraniteGuardian
from expunge.judges.guards.llama_guard import LlamaGuard
from expunge.judges.guards.qwen3guard import Qwen3Guard


@pytest.mark.parametrize(("family", "text", "read"), TRANSCRIPTS, ids=lambda value: str(value)[:40])
def test_transcripts(family: Family, text: str, read: Read) -> None:
    answer = family.parse(text)
    assert (answer and (answer.said, answer.categories, answer.note)) == read
    if answer:
        assert text[answer.at :].lower().startswith(answer.said.lower())


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_empty_and_cut_answers_are_unreadable(family: Family) -> None:
    assert family.parse("") is None
    assert family.parse(" \n") is None


WORDS = st.sampled_from(
    [
        *("Safety: ", "Safe", "Unsafe", "Categories: ", "None", "Violent", "Refusal: ", "Yes", "No"),
        *("safe", "unsafe", "S1", "Harmful request: ", "Response refusal: ", "Harmful response: ", "yes", "no"),
        *("<score>", "</score>", "<think>", "\n", ","),
    ]
)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
@given(text=st.text() | st.lists(WORDS, max_size=12).map("".join))
def test_any_text_is_read_or_not(family: Family, text: str) -> None:
    answer = family.parse(text)
    if answer is not None:
        assert answer.said in family.labels
        assert text[answer.at : answer.at + len(answer.said)].lower() == answer.said.lower()
        assert family.fault(answer.categories) in ("harmful", "hallucination") or answer.categories


def test_only_private_categories_make_it_a_privacy_fault() -> None:
    assert Qwen3Guard().fault(("PII",)) == LlamaGuard().fault(("S7: Privacy",)) == "privacy"
    assert Qwen3Guard().fault(("PII", "Violent")) == Qwen3Guard().fault(()) == "harmful"
    assert GraniteGuardian("groundedness").fault(("groundedness",)) == "hallucination"


def test_controversial_counts_only_where_strict() -> None:
    chances = {"Safe": 0.2, "Unsafe": 0.3, "Controversial": 0.5}
    assert Qwen3Guard().risk(chances) == 0.3
    assert Qwen3Guard(strict=True).risk(chances) == pytest.approx(0.8)
