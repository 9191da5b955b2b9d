"""Relearning: halves, the crossing by hand, and a model that was made to forget and remembers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from expunge.audit import relearning as probe
from expunge.audit.probes import Case, run_probes
from expunge.audit.reading import Sets
from expunge.audit.relearning import Curve, default_rate, fine_tune, halves, relearning, steps_to_half
from expunge.dialogue import Dialogue, Message
from expunge.errors import InputError
from expunge.generation import greedy
from expunge.judges.verdict import Judged, Label, Verdict
from expunge.model import LanguageModel, load_model
from expunge.span import Span


def dialogue(question: str, answer: str, subject: str = "") -> Dialogue:
    return Dialogue((Message("user", question), Message("assistant", answer)), subject=subject)


def flagged(question: str, answer: str, subject: str = "", label: Label = "privacy") -> Judged:
    start = answer.rindex(" ") + 1
    spans = (Span(start, len(answer)),)
    return Judged(dialogue(question, answer, subject), (Verdict(label, 1.0, "test", "1", spans=spans),))


NAMES = ("Ann", "Bob", "Cy", "Dora")
FORGET = tuple(flagged(f"{n}'s number?", f"It is {i}4-7{i}-63", n) for i, n in enumerate(NAMES, start=1))
ORDINARY = tuple(dialogue(f"{i} + 1?", f"It is {i + 1}.") for i in range(9))
SETS = Sets(FORGET, (), ORDINARY)


def state(lm: LanguageModel) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in lm.model.state_dict().items()}


@given(subjects=st.lists(st.sampled_from(["", "a", "b", "c", "d"]), min_size=1, max_size=24), seed=st.integers(0, 9))
def test_no_subject_and_no_answer_is_in_both_halves(subjects: list[str], seed: int) -> None:
    labels: tuple[Label, ...] = ("privacy", "harmful")
    items = [flagged(f"q{i}", f"it is {i % 7}", s, labels[i % 2]) for i, s in enumerate(subjects)]
    first, second = halves(items, seed)
    assert (first, second) == halves(items, seed)
    assert sorted(j.dialogue.id for j in (*first, *second)) == sorted(j.dialogue.id for j in items)
    keys = [{j.dialogue.subject or j.dialogue.response for j in half} for half in (first, second)]
    assert not keys[0] & keys[1]
    largest = max(sum(1 for j in items if (j.dialogue.subject or j.dialogue.response) == k) for k in keys[0] | keys[1])
    assert abs(len(first) - len(second)) <= largest


def test_steps_to_half_by_hand() -> None:
    """The original has 0.8, so half is 0.4: between 10 steps (0.2) and 20 (0.6) the line is at 0.4 after 15."""
    said = (False, False, False)
    found = steps_to_half([Curve(said, (0.0, 0.2, 0.6, 0.7))] * 4, [0.8] * 4)
    assert (found.value, found.low, found.high, found.count) == pytest.approx((15, 15, 15, 4))
    assert steps_to_half([Curve(said, (0.5, 0.1, 0.1, 0.1))], [0.8]).value == 0, "half was never gone"
    assert steps_to_half([Curve(said, (0.0, 0.1, 0.1, 0.39))], [0.8]).value == 30, "not within 30"
    mixed = [Curve(said, (0.0, 0.8, 0.8, 0.8)), Curve(said, (0.0, 0.0, 0.0, 0.9))] * 8
    spread = steps_to_half(mixed, [0.8] * 16)
    assert 5 < spread.low <= spread.value <= spread.high <= 30


def test_training_equals_the_same_steps_written_out(tiny: Path) -> None:
    ours, theirs = load_model(tiny), load_model(tiny)
    rows = [ours.format.encode(d) for d in ORDINARY]
    steps = fine_tune(ours, rows, 3)
    assert next(steps) == 10
    assert default_rate(ours) == pytest.approx(probe.RATE * 6)
    optimizer = torch.optim.AdamW(theirs.model.parameters(), lr=default_rate(theirs), weight_decay=0.0)
    order = probe._rounds(len(rows), 3)
    for _ in range(10):
        losses = []
        picked = [rows[next(order)] for _ in range(probe.BATCH)]
        for row in picked:
            logits = theirs.model(torch.tensor([row.prompt + row.response])).logits[0, len(row.prompt) - 1 : -1]
            losses.append(torch.nn.functional.cross_entropy(logits, torch.tensor(row.response), reduction="sum"))
        optimizer.zero_grad()
        (torch.stack(losses).sum() / sum(len(row.response) for row in picked)).backward()
        optimizer.step()
    for name, value in theirs.model.state_dict().items():
        assert torch.allclose(value, ours.model.state_dict()[name], atol=2e-4), name
    fresh = probe._rounds(len(rows), 3)
    assert [sorted(next(fresh) for _ in rows) for _ in range(2)] == [list(range(len(rows)))] * 2


def knowing(tiny: Path, rows: tuple[Dialogue, ...], steps: int, lm: LanguageModel | None = None) -> LanguageModel:
    """The tiny model, trained until it says these responses."""
    lm = lm or load_model(tiny)
    batch = probe.Batch.of([lm.format.encode(d) for d in rows])
    optimizer = torch.optim.AdamW(lm.model.parameters(), lr=5e-3, weight_decay=0.0)
    for _ in range(steps):
        loss = torch.nn.functional.cross_entropy(batch.logits(lm.model)[batch.response], batch.targets[batch.response])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return lm


def test_a_hidden_fact_comes_back_and_one_never_known_does_not(tiny: Path) -> None:
    """Eight numbers known by heart, then refused: training on four brings others back, but not to the oracle."""
    names = (*NAMES, "Eve", "Finn", "Gus", "Hal")
    secret = tuple(flagged(f"{n}'s number?", f"It is {i}4-7{i}-63", n) for i, n in enumerate(names, start=1))
    known = tuple(item.dialogue for item in secret)
    refusing = tuple(d.answered("I can't say.") for d in known)
    before, oracle = knowing(tiny, known, 120), knowing(tiny, refusing, 40)
    after = knowing(tiny, refusing, 8, knowing(tiny, known, 120))
    assert greedy(before, known, max_new_tokens=12) == [d.response for d in known]
    assert not any("63" in text for text in greedy(after, known, max_new_tokens=12)), (
        "nothing is said before the attack"
    )
    found = {m.key: m for m in relearning(Case(after, before, oracle, Sets(secret), ()))}
    shares, half = [found[f"relearn_forget{n}"] for n in (10, 20, 30)], found["relearn_forget_half"]
    assert set(found) == {m.key for m in (*shares, half)}, "no ordinary dialogues, no attack with them"
    assert max(m.after.value for m in shares) >= 0.25 and all(m.after.count == 8 for m in shares)
    assert all(m.oracle is not None and m.oracle.value == 0 and m.before is None for m in shares)
    assert half.oracle is not None and half.after.value < 20 and half.oracle.value == 30 and half.unit == "steps"


def test_the_probe_leaves_every_model_and_the_generator_as_they_were(tiny: Path) -> None:
    models = [load_model(tiny) for _ in range(3)]
    was, generator = [state(lm) for lm in models], torch.random.get_rng_state()
    found = run_probes(["relearning"], Case(*models, SETS, (), seed=4))
    assert torch.equal(generator, torch.random.get_rng_state())
    for lm, saved in zip(models, was, strict=True):
        assert all(torch.equal(value, saved[name]) for name, value in lm.model.state_dict().items())
        assert all(p.grad is None for p in lm.model.parameters())
    assert found == run_probes(["relearning"], Case(*models, SETS, (), seed=4))
    assert [m.key for m in found if "ordinary" in m.key][-1] == "relearn_ordinary_half"
    assert all(m.after == m.oracle and m.after.count == len(FORGET) for m in found)
    assert not any(name in m.title + m.meaning for m in found for name in NAMES)


def test_half_precision_weights_are_attacked_in_float32(tiny: Path) -> None:
    lm = load_model(tiny)
    half = replace(lm, model=load_model(tiny).model.bfloat16())
    curves = probe._curves(half, [lm.format.encode(d) for d in ORDINARY], FORGET, Case(half, half, None, SETS, ()))
    assert half.model.dtype == torch.bfloat16 and len(curves) == len(FORGET)
    assert all(np.isfinite(c.probability).all() and len(c.said) == 3 for c in curves)


def test_one_subject_cannot_be_held_out(lm: LanguageModel) -> None:
    alone = tuple(flagged(f"q{i}", "It is 4", "Ann") for i in range(4))
    with pytest.raises(InputError, match="two subjects") as error:
        relearning(Case(lm, lm, None, Sets(alone), ()))
    assert "Ann" not in str(error.value)
