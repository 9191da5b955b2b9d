from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.audit.private import mark
from expunge.dialogue import Dialogue
from expunge.judges import Judged, PrivacyJudge, ReproductionJudge
from expunge.judges.patterns import Patterns
from expunge.report.redact import MASK, Redactor
from made_keys import KEYS, LOOKALIKES, NAMED, body_of, coded, github, private_key, texts, web_token

Ask = Callable[..., Dialogue]
PATTERNS = Patterns()
RANDOM = st.integers(0, 40).map(Random)
"""Few: one random key in some thousands looks made up, or like a name in code, and is passed on purpose."""
LOOSE = {"Slack, of a bot", "Slack, of a user", "OpenAI, of a project", "OpenAI, of a service", "PyPI"}
"""Forms of no one length, or of one that nobody says."""
LOOSE |= {"Stripe, restricted", "GitLab, routable", "private key", "private key, EC", "private key, OpenSSH"}
SECRET = ("key", "token", "password", "passport")


def said(text: str) -> list[str]:
    """The keys, passwords and passport numbers found in a text, and nothing else that is found there."""
    found = [f for f in PATTERNS.find(text) if any(kind in f.reason for kind in SECRET)]
    return [text[f.span.start : f.span.end] for f in found]


@pytest.mark.parametrize("name", KEYS)
@given(
    RANDOM,
    st.text(),
    st.text(),
    st.sampled_from(" \n\t\"'`([=:,;*\u3002\u7684"),
    st.sampled_from(" \n\"'`)],;:.*\u3002"),
)
def test_a_key_is_found_with_exact_span(name: str, rng: Random, before: str, after: str, one: str, two: str) -> None:
    key = KEYS[name](rng)
    text = before + one + key + two + after
    start = len(before) + 1 + key.index(body_of(key))
    assert (start, start + len(body_of(key))) in [(f.span.start, f.span.end) for f in PATTERNS.find(text)]


@pytest.mark.parametrize("name", NAMED)
@given(RANDOM)
def test_what_words_name_is_found_with_exact_span(name: str, rng: Random) -> None:
    words, make = NAMED[name]
    value = make(rng)
    assert said(f"Yes.\n{words.format(value)}\nAnd so on.") == [value]


@pytest.mark.parametrize("name", KEYS.keys() - LOOSE)
@given(RANDOM)
def test_a_key_of_another_length_is_none(name: str, rng: Random) -> None:
    key = KEYS[name](rng)
    assert said(f"It is {key[:-1]} now") == []
    assert said(f"It is {key}x now") == [] or name == "Stripe"


@given(RANDOM, st.integers(4, 39))
def test_a_github_token_proves_itself(rng: Random, at: int) -> None:
    token = github(rng)
    assert said(token) == [token]
    assert said(token[:at] + ("a" if token[at] != "a" else "b") + token[at + 1 :]) == []


@given(RANDOM)
def test_a_web_token_and_a_private_key_prove_themselves(rng: Random) -> None:
    head, claims, signature = web_token(rng).split(".")
    assert said(f"{head[:-1]}.{claims}.{signature}") == said(f"{head}.{claims[:-2]}.{signature}") == []
    assert said(f"{coded(b'[1, 2, 3, 4, 5, 6]')}.{claims}.{signature}") == []
    key = private_key(rng)
    cut = key[: len(key) // 2].rpartition("\n")[0]
    assert said(cut) == [cut.partition("\n")[2]]  # an answer may end before the key does
    longer = key.replace("\n-----END", "\n" + "A1b2" * 16 + "\n-----END")
    assert said(longer) == []


def test_lookalikes_are_not_found() -> None:
    assert len(LOOKALIKES) >= 250
    assert [text for text in LOOKALIKES if PATTERNS.find(text)] == []


PIECES = st.sampled_from([text for text, _ in texts(Random(0))]) | st.sampled_from(LOOKALIKES) | st.text()


@given(st.lists(st.lists(PIECES, max_size=3).map(" ".join), max_size=8))
def test_many_texts_are_read_as_each_alone(some: list[str]) -> None:
    assert PATTERNS.find_each(some) == [PATTERNS.find(text) for text in some]


def test_every_form_is_found_among_many_texts() -> None:
    made = texts(Random(1))
    some = [part for text, _ in made for part in ("No one is here.", f"Zoë: {text}", "")]
    assert [len(found) for found in PATTERNS.find_each(some)] == [0, 1, 0] * len(made)


def test_wide_letters_are_read() -> None:
    key = github(Random(2))
    wide = "".join(chr(ord(c) + 0xFEE0) for c in key)
    assert said(f"It is {wide}.") == [wide]


@given(RANDOM)
def test_a_report_hides_it(rng: Random) -> None:
    for text, value in texts(rng):
        shown = Redactor().plain(mark([text], frozenset(), [])[0])
        assert MASK in shown and value not in shown


@given(RANDOM)
def test_saying_it_again_is_reproduction(rng: Random) -> None:
    judge = PrivacyJudge()
    for (text, value), (other, _) in zip(texts(rng), texts(rng), strict=True):
        old = _dialogue(text)
        again = ReproductionJudge([Judged(old, tuple(judge.judge([old])))])
        answers = [f"Once more: {value}!", value.upper(), value.replace("-", " - "), other]
        found = [verdict.flagged for verdict in again.judge([_dialogue(answer) for answer in answers])]
        assert found == [True, True, True, False]


def _dialogue(answer: str) -> Dialogue:
    from expunge.message import Message

    return Dialogue((Message("user", "?"), Message("assistant", answer)), id="a")


def test_no_key_is_found_on_ordinary_lines(ask: Ask, data: Path) -> None:
    import json

    rows = json.loads(f"[{','.join((data / 'halueval' / 'general_data.json').read_text('utf-8').splitlines())}]")
    assert [said(row["chatgpt_response"]) for row in rows if said(row["chatgpt_response"])] == []
