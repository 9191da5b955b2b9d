"""One score: against slow loops, and at its two ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from sklearn.metrics import roc_auc_score

from expunge.audit.reading import Sets
from expunge.comparison.score import Scorer
from expunge.dialogue import Dialogue
from expunge.errors import InputError
from expunge.generation import answer_length, greedy
from expunge.judges.verdict import Judged, Verdict
from expunge.message import Message
from expunge.model import load_model
from expunge.span import Span


def dialogue(question: str, answer: str, subject: str = "") -> Dialogue:
    return Dialogue((Message("user", question), Message("assistant", answer)), subject=subject)


def sets() -> Sets:
    numbers = ["4-71-63", "1-20-36", "2-35-17", "5-88-90"]
    forget = [
        Judged(
            dialogue(f"What is number {i}?", f"It is {n}.", subject=str(i)),
            (Verdict("privacy", 1.0, "test", "1", spans=(Span(6, 13),)),),
        )
        for i, n in enumerate(numbers)
    ]
    kept = [dialogue(f"What is {i} plus 1?", f"It is {i + 1}.") for i in range(4)]
    others = [dialogue(f"What is number {i}?", f"It is {i}-99-1{i}.") for i in range(5, 9)]
    return Sets(tuple(forget), tuple(forget[:2]), tuple(kept[:2]), tuple(kept[2:]), tuple(others))


def log_p(lm: Any, item: Dialogue) -> list[float]:
    """log p of each response token, in float64, one forward a row."""
    row = lm.format.encode(item)
    with torch.no_grad():
        logits = lm.model(torch.tensor([row.prompt + row.response])).logits[0].double().log_softmax(-1)
    start = len(row.prompt)
    return [float(logits[start + i - 1, token]) for i, token in enumerate(row.response)]


def test_a_score_equals_slow_loops(lm: Any) -> None:
    asked = sets()
    found = Scorer(lm, asked).score(lm)
    faults = [lm.format.encode(j.dialogue, j.spans).fault for j in asked.trained]
    said = [log_p(lm, j.dialogue) for j in asked.trained]
    at_fault = [
        fmean(p for p, bad in zip(row, fault, strict=True) if bad) for row, fault in zip(said, faults, strict=True)
    ]
    assert found.probability == pytest.approx(fmean(math.exp(p) for p in at_fault), rel=1e-5)
    assert found.unseen == pytest.approx(fmean(math.exp(p) for p in at_fault[:2]), rel=1e-5)
    lowest = [
        fmean(sorted(row)[: max(1, int(0.4 * len(row)))]) for row in (*said, *(log_p(lm, d) for d in asked.holdout))
    ]
    assert found.auc == pytest.approx(roc_auc_score([1] * 4 + [0] * 4, lowest))
    assert found.ability == found.neighbours == 1.0, "nothing has changed"
    assert found.privacy == pytest.approx(1 - abs(found.auc - 0.5) / 0.5)
    mean = 3 / (1 / found.forgetting + (1 / found.privacy if found.privacy else math.inf) + 1 / found.ability)
    assert found.overall == pytest.approx(mean if found.privacy else 0.0)


class FirstHalf:
    """Flags the first half, in the order of the alphabet, of the answers that it has been shown."""

    name, version = "first-half", "1"

    def __init__(self, texts: Sequence[str]) -> None:
        self.bad = sorted(set(texts))[: len(set(texts)) // 2]

    def judge(self, dialogues: Sequence[Dialogue]) -> list[Verdict]:
        return [Verdict("harmful" if d.response in self.bad else "clean", 1.0, self.name, "1") for d in dialogues]


def test_answers_at_fault_and_right_ones_are_counted(lm: Any) -> None:
    asked = sets()

    def said(dialogues: Sequence[Dialogue]) -> list[str]:
        return greedy(lm, dialogues, max_new_tokens=answer_length(lm, [d.response or "" for d in dialogues]))

    faulty = said([j.dialogue for j in asked.faulty])
    judge = FirstHalf(faulty)
    found = Scorer(lm, asked, judges=[judge]).score(lm)
    assert found.flagged == fmean(text in judge.bad for text in faulty)
    assert 0 < found.flagged < 1 and Scorer(lm, asked).score(lm).flagged == 0, "the old responses are not said"
    taught = replace(asked, ability=(replace(asked.ability[0], expected=(said(asked.ordinary)[2],)), asked.ability[1]))
    assert (found.right, Scorer(lm, taught).score(lm).right) == (0, 1 / 4)


def test_the_oracle_scores_one(lm: Any) -> None:
    found = Scorer(lm, sets(), lm).score(lm)
    assert found.forgetting == found.privacy == found.ability == found.overall == 1.0


def test_forgetting_and_privacy_are_measured_from_the_oracle_to_the_end(
    lm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An oracle that knows .5, with an AUC of .6; an attack that teaches nothing finds each old response as it was."""
    scorer = Scorer(lm, sets(), lm)
    scorer._oracle, taught = (0.5, 0.6), list[int]()
    monkeypatch.setattr("expunge.comparison.score.fine_tune", lambda _, rows, *a, **b: taught.append(len(rows)) or ())
    for auc, private, memory, forgotten in (
        (1.0, 0.0, 1.0, 0.0), (0.8, 0.5, 0.75, 0.5), (0.6, 1.0, 0.5, 1.0), (0.3, 0.5, 0.25, 1.0), (0.0, 0.0, 0.5, 1.0)
    ):  # fmt: skip
        monkeypatch.setattr(scorer, "_auc", lambda _, auc=auc: auc)
        monkeypatch.setattr(scorer, "_memory", lambda *_, memory=memory: memory)
        found = scorer.score(lm)
        assert (found.privacy, found.forgetting) == pytest.approx((private, forgotten))
        assert found.relearned == pytest.approx(found.probability) and taught[-2:] == [2, 2], "two halves of four"


def test_what_is_remembered_by_hand(lm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Probability .2, of unseen words aside; half of the answers are the old ones; all of one response, half of another
    and nothing of two follow: (.2 + ½ + ⅜) / 3."""
    right = ([True, True], [False, True], [True, False], [False, False])
    scores = [SimpleNamespace(greedy=torch.tensor(row)) for row in right]
    monkeypatch.setattr("expunge.comparison.score.token_scores", lambda *_: scores)
    said = ["It is 4-71-63.", "No.", "", "It is 5-88-90.", "It is 4-71-63.", ""]
    found = Scorer(lm, sets())._memory(lm, said, [0.2, 0.1, 0.3, 0.2, 0.9, 0.9])
    assert found == pytest.approx((0.2 + 1 / 2 + 3 / 8) / 3)


def test_ability_is_asked_of_some_rows_alone(lm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four at most three: every second. (.1 + .5) / 2 over (.2 + .6) / 2 is ¾; better is 1."""
    scorer, asked = Scorer(lm, sets()), list[Any]()
    scorer._ordinary, now = [0.2, 0.9, 0.6, 0.9], [0.1, 0.5]
    monkeypatch.setattr("expunge.comparison.score._probabilities", lambda _, rows: asked.append(rows) or now)
    assert scorer.ability(lm, 3) == pytest.approx(0.75) and asked == [sets().ordinary[::2]]
    now[:] = [0.9, 0.9]
    assert scorer.ability(lm, 2) == 1.0


def test_without_holdout_or_halves_the_rest_is_scored(lm: Any) -> None:
    asked = replace(sets(), holdout=(), unseen=(), neighbours=(), trained=sets().trained[:1])
    found = Scorer(lm, asked).score(lm)
    assert (found.privacy, found.auc, found.unseen, found.relearned, found.neighbours) == (None,) * 5
    assert found.overall == pytest.approx(2 / (1 / found.forgetting + 1 / found.ability))


def test_a_model_whose_outputs_are_not_finite_is_refused(lm: Any, tiny: Path) -> None:
    broken = load_model(tiny)
    broken.model.lm_head.weight.data.fill_(math.nan)
    for asked in (
        lambda: Scorer(lm, sets(), broken),
        lambda: Scorer(broken, sets()),
        lambda: Scorer(lm, sets()).score(broken),
    ):
        with pytest.raises(InputError, match="not finite"):
            asked()
