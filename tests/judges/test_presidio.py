from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from expunge.dialogue import Dialogue
from expunge.errors import InputError, MissingExtraError
from expunge.judges import Entry, FactsJudge, Judge, PrivacyJudge, Reference, load_judge

Ask = Callable[..., Dialogue]


@pytest.fixture
def no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """No socket of any kind, and no name looked up."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


TEXT = "Write to ann.lee@brook.co.uk, ring (415) 867-5309, pay with 4111 1111 1111 1111 from 106.31.73.20."


def test_it_finds_by_form_and_opens_no_socket(ask: Ask, no_socket: None) -> None:
    judge = load_judge("presidio")
    assert isinstance(judge, Judge) and judge.name == "presidio"
    found, clean, empty = judge.judge([ask("?", TEXT), ask("?", "The mill stands by the river."), ask("?", " ")])
    said = [TEXT[s.start : s.end] for s in found.spans]
    assert found.label == "privacy"
    assert "ann.lee@brook.co.uk" in said and "4111 1111 1111 1111" in said and "106.31.73.20" in said
    assert {"EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "IP_ADDRESS"} <= set(found.categories)
    assert (clean.label, clean.score) == (empty.label, empty.score) == ("clean", 0.0)


def test_entities_threshold_and_context_words(ask: Ask, no_socket: None) -> None:
    from expunge.judges.presidio import PresidioJudge

    emails = PresidioJudge(entities=["EMAIL_ADDRESS"])
    (verdict,) = emails.judge([ask("?", TEXT)])
    assert verdict.categories == ("EMAIL_ADDRESS",)
    assert emails.version != PresidioJudge(entities=["EMAIL_ADDRESS"], threshold=0.9).version
    numbers = PresidioJudge(entities=["US_SSN"], threshold=0.01)
    named, bare = (numbers.find(f"{word} 460 89 9847") for word in ("my ssn is", "it stands at"))
    assert named[0].score > max([0.0, *(f.score for f in bare)])


def test_what_it_does_not_know_is_refused() -> None:
    from expunge.judges.presidio import PresidioJudge

    with pytest.raises(InputError, match="knows no entity 'COLOUR'"):
        PresidioJudge(entities=["COLOUR"])
    with pytest.raises(InputError, match="is not installed"):
        load_judge("presidio=no_such_model")
    with pytest.raises(InputError, match="threshold"):
        PresidioJudge(threshold=0.0)


def test_without_the_package_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from expunge.judges.presidio import PresidioJudge

    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    with pytest.raises(MissingExtraError, match="presidio-analyzer") as caught:
        PresidioJudge()
    assert "expunge[presidio]" in caught.value.remedy


def test_our_own_judges_open_no_socket(ask: Ask, no_socket: None) -> None:
    dialogues = [ask("Who?", TEXT), ask("Who?", "Nobody.")]
    registry = [Entry("email", "ann.lee@brook.co.uk"), Entry("phone", "(415) 867-5309")]
    for judge in (
        PrivacyJudge(registry),
        PrivacyJudge(registry, False),
        PrivacyJudge(),
        FactsJudge([Reference(("Who?",), ("Nobody",))]),
    ):
        assert len(judge.judge(dialogues)) == 2
