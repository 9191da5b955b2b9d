# ruff: noqa: RUF001  (look-alike characters are what is tested)
from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.judges.folding import fold, read


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("Ann  LEE", "annlee"),
        ("4-71/63", "47163"),
        ("４７１", "471"),
        ("٤٧١", "471"),
        ("double five oh treble one", "550111"),
        ("forty-seven, sixty three", "4763"),
        ("seventy one hundred", "71hundred"),
        ("seventeen twenty", "1720"),
        ("ann dot lee (at) x dot org", "annlee@xorg"),
        ("Zoë Müller", "zoemuller"),
        ("Zoe\u0308", "zoe"),
        ("Аnn Lее", "annlee"),
        ("𝐀𝐧𝐧 ⓁⓔⒺ", "annlee"),
        ("A\u200bn\u00adn\u2060", "ann"),
        ("&#65;nn &amp; Lee", "annlee"),
        ("%41nn%20Lee", "annlee"),
        ("Zo%C3%AB", "zoe"),
        (r"\u0041nn \x4cee", "annlee"),
        ("double trouble", "doubletrouble"),
        ("山田double five、ガンダム", "山田55カンタム"),
        ("", ""),
    ],
)
def test_canonical(text: str, canonical: str) -> None:
    assert read(text).canonical == canonical


@pytest.mark.parametrize(
    ("text", "word", "original"),
    [
        ("say ４７ now", 1, "４７"),
        ("say double five now", 1, "double five"),
        ("Ann&#64;home", 1, "&#64;"),
        ("a Zo\u200be\u0308 b", 1, "Zo\u200be"),
        ("x ﬁt y", 1, "ﬁt"),
        ("caf%C3%A9 open", 0, "caf%C3%A9"),
    ],
)
def test_words_lead_back_to_the_original(text: str, word: int, original: str) -> None:
    span = read(text).original(word, word)
    assert text[span.start : span.end] == original


@given(st.text())
def test_every_word_lies_inside_the_text_and_in_order(text: str) -> None:
    view = read(text)
    assert len(view.spans) == len(view.words) == len(view.at) - 1
    assert view.at[-1] == len(view.canonical)
    spans = [view.original(i, i) for i in range(len(view.words))]
    assert all(0 <= s.start < s.end <= len(text) for s in spans)
    assert all(one.start <= two.start for one, two in pairwise(spans))


@given(st.text(alphabet=st.characters(codec="ascii", exclude_characters="&%\\")))
def test_the_quick_way_reads_ascii_as_the_thorough_way_does(text: str) -> None:
    quick, thorough = read(text), read(text + " é")
    assert quick.canonical + "e" == thorough.canonical
    assert quick.spans == thorough.spans[:-1]


@given(st.characters())
def test_folding_twice_changes_nothing(character: str) -> None:
    once = fold(character)
    assert "".join(map(fold, once)) == once


def test_leet_is_read_only_where_a_word_mixes_letters_and_digits() -> None:
    assert read("in 1998 or 2001").leet() is None
    view = read("H3r0n L4ne").leet()
    assert view is not None
    assert view.canonical == read("Heron Lane").letters().canonical
