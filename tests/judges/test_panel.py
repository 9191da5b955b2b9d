from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from expunge.dialogue import Dialogue
from expunge.errors import InputError
from expunge.judges import Span, Verdict, judge_all
from expunge.message import Message

Ask = Callable[..., Dialogue]


class Word:
    """Flags a word, and counts what it is given."""

    version = "1"

    def __init__(self, word: str) -> None:
        self.name, self.seen = word, 0

    def judge(self, dialogues: Sequence[Dialogue]) -> list[Verdict]:
        self.seen += len(dialogues)
        return [
            Verdict("harmful" if self.name in (d.response or "") else "clean", 1.0, self.name, "1") for d in dialogues
        ]


class Broken(Word):
    def __init__(self, *verdicts: Verdict) -> None:
        super().__init__("broken")
        self.verdicts = list(verdicts)

    def judge(self, dialogues: Sequence[Dialogue]) -> list[Verdict]:
        return self.verdicts


def test_every_judge_reads_every_dialogue_once(ask: Ask) -> None:
    red, blue = Word("red"), Word("blue")
    dialogues = [ask("a", "red"), ask("b", "blue"), ask("a", "red"), ask("c", "grey")]
    judged = judge_all([red, blue], dialogues)
    assert [item.dialogue for item in judged] == dialogues
    assert [item.flagged for item in judged] == [True, True, True, False]
    assert [[v.judge for v in item.verdicts] for item in judged] == [["red", "blue"]] * 4
    assert (red.seen, blue.seen) == (3, 3)


def test_equal_texts_under_two_ids_are_two_dialogues(ask: Ask) -> None:
    word = Word("red")
    judge_all([word], [ask("a", "red", "1"), ask("a", "red", "2")])
    assert word.seen == 2


def test_nothing_to_judge_is_judged() -> None:
    assert judge_all([Word("red")], []) == []


def test_a_prompt_is_refused(ask: Ask) -> None:
    prompt = Dialogue((Message("user", "private words"),), source="logs.jsonl:7")
    with pytest.raises(InputError, match=r"logs\.jsonl:7: there is no response") as caught:
        judge_all([Word("red")], [ask("a", "b"), prompt])
    assert "private" not in str(caught.value)
    with pytest.raises(InputError, match="^dialogue 2: there is no response"):
        judge_all([Word("red")], [ask("a", "b"), Dialogue(prompt.messages)])


def test_a_judge_is_needed(ask: Ask) -> None:
    with pytest.raises(InputError, match="no judge"):
        judge_all([], [ask("a", "b")])


@pytest.mark.parametrize(
    "verdicts",
    [
        (),
        (Verdict("clean", 2.0, "x", "1"),),
        (Verdict("evil", 1.0, "x", "1"),),  # type: ignore[arg-type]
        (Verdict("harmful", 1.0, "x", "1", spans=(Span(0, 9),)),),
        (Verdict("harmful", 1.0, "x", "1", spans=((0, 1),)),),  # type: ignore[arg-type]
        (Verdict("harmful", "0.5", "x", "1"),),  # type: ignore[arg-type]
        (Verdict("harmful", None, "x", "1"),),  # type: ignore[arg-type]
        (Verdict("harmful", np.array([0.5, 0.5]), "x", "1"),),  # type: ignore[arg-type]
        (Verdict("harmful", 1.0, "x", "1", reason="\ud83d"),),
        (Verdict("harmful", 1.0, "x", "1", reason=None),),  # type: ignore[arg-type]
        ({"label": "harmful", "score": 1.0},),
        (None,),
    ],
)
def test_a_judge_that_breaks_its_contract_is_named(ask: Ask, verdicts: tuple[Verdict, ...]) -> None:
    with pytest.raises(InputError, match="the judge 'broken' gave"):
        judge_all([Broken(*verdicts)], [ask("a", "b")])


def test_a_judge_that_gives_no_list_is_named(ask: Ask) -> None:
    broken = Broken()
    broken.judge = lambda _: None  # type: ignore[method-assign,assignment,return-value]
    with pytest.raises(InputError, match="the judge 'broken' gave no list"):
        judge_all([broken], [ask("a", "b")])


@pytest.mark.parametrize("score", [np.float32(0.5), torch.tensor(0.5), 1])
def test_scores_become_plain_numbers(ask: Ask, score: float) -> None:
    (judged,) = judge_all([Broken(Verdict("harmful", score, "x", "1"))], [ask("a", "b")])
    assert type(judged.verdicts[0].score) is float and judged.row()["score"] == float(score)
