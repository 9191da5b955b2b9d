"""What a model that thinks first thinks itself about what is to be forgotten, and about what is to be kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from expunge import own_thoughts as module
from expunge.dialogue import Dialogue
from expunge.judges.panel import judge_all
from expunge.judges.privacy import PrivacyJudge
from expunge.judges.verdict import Judged, Verdict
from expunge.message import THOUGHT, Message
from expunge.model import LanguageModel
from expunge.own_thoughts import own_thoughts
from expunge.progress import Quiet
from expunge.selection import Split, read_kept, read_split, split, write_split
from expunge.training.material import Material
from test_thought import FORMS, folder, of_form, thinker

__all__ = ["folder", "thinker"]

MAIL = "It is ann.lee@mail.org."


def said(question: str, answer: str, thought: str = "", **more: Any) -> Dialogue:
    thoughts = [Message(THOUGHT, thought)] if thought else []
    return Dialogue((Message("user", question), *thoughts, Message("assistant", answer)), **more)


def parts_of(old: Sequence[Dialogue], normal: Sequence[Dialogue]) -> Split:
    return split(judge_all([PrivacyJudge()], old), normal)


def let_think(
    monkeypatch: pytest.MonkeyPatch, lm: LanguageModel, parts: Split, said: dict[str, tuple[str, str]], **more: Any
) -> tuple[list[Judged], list[Dialogue]]:
    """With a model that thinks and answers so, by question."""
    asked = list[str]()

    def generate(lm: LanguageModel, dialogues: Sequence[Dialogue], **options: Any) -> list[list[str]]:
        if options.get("thinking"):
            asked.extend(d.question for d in dialogues)
        return [[said[d.question][not options.get("thinking")]] for d in dialogues]

    monkeypatch.setattr(module, "generate", generate)
    found = own_thoughts(lm, parts, more.get("judges", [PrivacyJudge()]), seed=0, progress=Quiet())
    assert sorted(asked) == sorted(said)
    return found


def test_thoughts_that_tell_are_forgotten_and_clean_ones_are_kept(
    monkeypatch: pytest.MonkeyPatch, thinker: LanguageModel
) -> None:
    parts = parts_of([said("Mail?", MAIL, id="m")], [said("Day?", "Friday.", id="d"), said("Who?", "Bo.", id="w")])
    thinks = {"Mail?": (MAIL, "No."), "Day?": ("It is Friday.", "Friday."), "Who?": ("Bo, at bo@mail.org.", "Bo.")}
    forget, kept = let_think(monkeypatch, thinker, parts, thinks)
    assert [(item.dialogue.id, item.label) for item in forget] == [("m#own#thought", "privacy")]
    assert kept == [said("Day?", "Friday.", "It is Friday.", id="d#own")]
    whole = split([*(parts.forget), *forget], [*parts.normal, *kept])
    assert [d.id for d in whole.normal] == ["d", "w", "d#own"], "the answer right away is there already"


def test_an_answer_at_fault_is_forgotten_after_the_thought_that_leads_to_it(
    monkeypatch: pytest.MonkeyPatch, thinker: LanguageModel
) -> None:
    parts = parts_of([said("Mail?", MAIL, id="m")], [said("Day?", "Friday.")])
    thinks = {"Mail?": ("They ask.", MAIL), "Day?": ("Hm.", "Monday.")}
    forget, kept = let_think(monkeypatch, thinker, parts, thinks)
    assert [item.dialogue for item in forget] == [said("Mail?", MAIL, "They ask.", id="m#own")]
    whole = split([*parts.forget, *forget], [*parts.normal, *kept])
    assert [d.response for d in whole.normal] == ["Friday.", "Monday."], "right away it says what it said"


def test_what_was_asked_to_be_deleted_is_found_in_thoughts_without_any_judge(
    monkeypatch: pytest.MonkeyPatch, thinker: LanguageModel
) -> None:
    """It is taught what the log expects of its answer."""
    row = said("Who won?", "Ann Lee won the cup.", id="1", expected=("I don't know.",))
    parts = split([Judged(row, (Verdict("hallucination", 1.0, "request", "1"),))], [said("Day?", "Friday.")])
    thinks = {"Who won?": ("Ann Lee won the cup.", "A secret."), "Day?": ("Hm.", "Friday.")}
    (thought,), kept = let_think(monkeypatch, thinker, parts, thinks, judges=[])
    assert thought.dialogue.thinks
    assert thought.expected == ("I don't know.",)
    assert [d.response for d in kept] == ["Friday."]


def test_what_has_thoughts_is_not_asked_again(monkeypatch: pytest.MonkeyPatch, thinker: LanguageModel) -> None:
    parts = parts_of([said("Mail?", MAIL)], [said("Day?", "Friday.", "It is Friday."), said("Who?", "Bo.")])
    forget, kept = let_think(monkeypatch, thinker, parts, {"Mail?": (MAIL, MAIL), "Who?": ("", "Bo.")})
    assert [item.dialogue.response for item in forget] == [MAIL]
    assert not kept, "it did not think"


def test_a_model_that_does_not_think_first_is_not_asked(
    monkeypatch: pytest.MonkeyPatch, thinker: LanguageModel
) -> None:
    parts = parts_of([said("Mail?", MAIL)], [said("Day?", "Friday.")])
    for form in ("no thought", "closed in both"):
        assert let_think(monkeypatch, of_form(thinker, form), parts, {}) == ([], [])


def test_what_does_not_fit_the_model_is_left_out(monkeypatch: pytest.MonkeyPatch, thinker: LanguageModel) -> None:
    parts = parts_of([said("Mail?", MAIL)], [said("Day?", "Friday."), said("Who?", "Bo.")])
    thinks = {"Mail?": ("Hm.", "No."), "Day?": ("word " * 200, "word " * 200), "Who?": ("Bo.", "Bo.")}
    _, kept = let_think(monkeypatch, thinker, parts, thinks)
    assert [d.question for d in kept] == ["Who?"]


@pytest.mark.parametrize("count", [0, 3, 5, 40])
def test_ordinary_questions_are_spread_over_neighbours_and_others(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(module, "ORDINARY", 10)
    normal = tuple(said(f"q{n}", "a") for n in range(60))
    old = Judged(said("Mail?", MAIL), (Verdict("privacy", 1.0, "request", "1"),))
    chosen = module._ordinary(Split((old,), normal, tuple(range(count))))
    near = [d for d in chosen if d in normal[:count]]
    assert len(near) == min(count, 5)
    assert len(chosen) == min(count, 5) + 5
    places = [normal.index(d) for d in chosen[len(near) :]]
    assert max(places) - min(places) > (60 - count) * 0.6


@pytest.mark.parametrize("form", [form for form in FORMS if form != "no thought"])
def test_a_thought_and_its_answer_are_one_response(thinker: LanguageModel, form: str) -> None:
    chat, dialogue = of_form(thinker, form).format, said("Who?", "Ann Lee.", "It is Ann.")
    whole, answer, thought = chat.encode_whole(dialogue), chat.encode(dialogue), dialogue.thought
    assert thought
    text = chat.tokenizer.decode
    assert text([*whole.prompt, *whole.response]) == text([*answer.prompt, *answer.response])
    assert whole.prompt == chat.encode(thought).prompt
    assert whole.response[: len(chat.encode(thought).response)] == chat.encode(thought).response
    assert len(whole.fault) == len(whole.response) and all(whole.fault)
    assert chat.encode_whole(dialogue.direct) == chat.encode(dialogue.direct)


def test_what_is_to_be_thought_is_to_be_answered_then(thinker: LanguageModel) -> None:
    """Or the answer after a thought that the model never had before is anything."""
    asked = said("Mail?", MAIL, id="m")
    thought = replace(said("Mail?", "No.", MAIL, id="m").thought or asked, expected=("That is private.",))
    verdict = (Verdict("privacy", 1.0, "request", "1"),)
    kept = said("Day?", "Friday.", "It is Friday.")
    parts = split([Judged(thought, verdict), Judged(replace(asked, expected=("No.",)), verdict)], [kept])
    material = Material.of(thinker.format, parts)
    private = said("Mail?", "That is private.", "That is private.")
    assert material.expected[0] == (thinker.format.encode_whole(private),)
    assert material.expected[1] == (thinker.format.encode(said("Mail?", "No.")),)
    assert material.normal == (thinker.format.encode_whole(kept), thinker.format.encode(kept.direct))
    assert material.beside == {1: 0}


def test_a_split_reads_back_as_it_was_written(tmp_path: Path) -> None:
    never = (said("Far?", "away"),)
    normal = [said(f"mail of {n}?", f"{n}", f"think {n}" * (n % 2)) for n in range(40)]
    parts = replace(parts_of([said("Mail?", MAIL)], normal), never_seen=never)
    assert 0 < len(parts.neighbours) < len(parts.normal)
    write_split(tmp_path, parts)
    assert read_split(tmp_path, never_seen=never) == parts
    assert len(read_kept([tmp_path / "normal.jsonl"])) == len(parts.normal), "each has an id of its own"
