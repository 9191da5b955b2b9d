"""The evaluative model at work: logged dialogues are judged, prompts are answered first."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from expunge.dialogue import Dialogue, Message
from expunge.errors import InputError
from expunge.judges.verdict import Verdict
from expunge.model import LanguageModel
from expunge.scan import scan


class Length:
    """Flags long responses."""

    name, version = "length", "1"

    def judge(self, dialogues: Sequence[Dialogue]) -> list[Verdict]:
        labels = ["harmful" if len(d.response or "") > 5 else "clean" for d in dialogues]
        return [Verdict(label, 1.0, self.name, self.version) for label in labels]  # type: ignore[arg-type]


PROMPT = Dialogue((Message("user", "a?"),), id="p")
LOGGED = Dialogue((Message("user", "a?"), Message("assistant", "Yes.")), id="l")


def unloadable() -> LanguageModel:
    raise AssertionError("the model was loaded for nothing")


def test_logged_dialogues_need_no_model() -> None:
    (found,) = scan([LOGGED], [Length()], model=unloadable)
    assert (found.dialogue, found.label) == (LOGGED, "clean")


def test_prompts_without_a_model_are_refused() -> None:
    with pytest.raises(InputError, match="no response"):
        scan([PROMPT], [Length()])


def test_no_judge_is_said_before_the_model_is_asked() -> None:
    with pytest.raises(InputError, match="no judge"):
        scan([PROMPT], [], model=unloadable)


def test_prompts_are_answered_in_their_places(lm: LanguageModel) -> None:
    found = scan([PROMPT, LOGGED], [Length()], model=lambda: lm, max_new_tokens=6)
    assert [j.dialogue.id for j in found] == ["p", "l"]
    assert found[0].dialogue.prompt == PROMPT.messages and found[0].dialogue.response


def test_samples_are_told_apart_and_equal_ones_judged_once(lm: LanguageModel) -> None:
    found = scan([PROMPT], [Length()], model=lambda: lm, samples=3, max_new_tokens=6)
    assert [j.dialogue.id for j in found] == ["p#1", "p#2", "p#3"]
    assert len({j.dialogue.response for j in found}) == 3


class Notes:
    """Keeps what it is told."""

    def __init__(self) -> None:
        from expunge.progress import Quiet

        self.notes: list[str] = []
        self.stage = Quiet().stage

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_an_empty_answer_is_no_dialogue_and_is_said_so(lm: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("expunge.generation.generate", lambda lm, prompts, **more: [[""] for _ in prompts])
    notes = Notes()
    assert len(scan([PROMPT, LOGGED], [Length()], model=lambda: lm, progress=notes)) == 1
    assert "1 of 1 prompts" in notes.notes[0]
    with pytest.raises(InputError, match="no answer"):
        scan([PROMPT], [Length()], model=lambda: lm)
