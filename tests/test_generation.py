"""Answers and likelihoods against naive loops."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from expunge.dialogue import Dialogue, Message
from expunge.generation import answer_length, generate, greedy, mean_probability, token_log_probs
from expunge.model import LanguageModel, load_model

ASKED = [Dialogue((Message("user", text),)) for text in ("Hi", "What is 12 plus 30?", "Where does Ann live, please?")]


@pytest.fixture(scope="module")
def lm(tiny: Path) -> LanguageModel:
    return load_model(tiny)


def test_greedy_equals_a_naive_loop_whatever_the_batch(lm: LanguageModel) -> None:
    together = greedy(lm, ASKED, max_new_tokens=12)
    for dialogue, answer in zip(ASKED, together, strict=True):
        ids = list(lm.format.prompt_ids(dialogue.prompt))
        said: list[int] = []
        while len(said) < 12 and (not said or said[-1] not in lm.format.end_ids):
            said.append(int(lm.model(torch.tensor([ids + said])).logits[0, -1].argmax()))
        assert answer == lm.format.text(said) == greedy(lm, [dialogue], max_new_tokens=12)[0]
    assert greedy(lm, [], max_new_tokens=3) == []


def test_samples_are_seeded_and_leave_the_global_generator_alone(lm: LanguageModel) -> None:
    before = torch.random.get_rng_state()
    first = generate(lm, ASKED, max_new_tokens=6, samples=3, seed=1)
    assert torch.equal(before, torch.random.get_rng_state())
    assert first == generate(lm, ASKED, max_new_tokens=6, samples=3, seed=1)
    assert first != generate(lm, ASKED, max_new_tokens=6, samples=3, seed=2)
    assert [len(answers) for answers in first] == [3, 3, 3]


def test_samples_come_from_the_untruncated_distribution(lm: LanguageModel) -> None:
    """One token drawn 2,000 times: each of the three likeliest tokens appears about as often as its probability."""
    drawn = generate(lm, ASKED[:1], max_new_tokens=1, samples=2000)[0]
    p = lm.model(torch.tensor([lm.format.prompt_ids(ASKED[0].prompt)])).logits[0, -1].detach().softmax(-1)
    likely = [int(i) for i in p.argsort(descending=True) if lm.format.text([int(i)])][:3]
    for token in likely:
        same = sum(float(p[i]) for i in range(len(p)) if lm.format.text([i]) == lm.format.text([token]))
        share = drawn.count(lm.format.text([token])) / 2000
        assert share == pytest.approx(same, abs=5 * (same * (1 - same) / 2000) ** 0.5)


def test_log_probabilities_equal_a_float64_loop(lm: LanguageModel) -> None:
    answers = ["4-71-63.", "A much longer answer than that one.", "x"]
    rows = [lm.format.encode(d.answered(a)) for d, a in zip(ASKED, answers, strict=True)]
    lm.model.train()
    found = token_log_probs(lm, rows)
    assert lm.model.training, "the mode is restored"
    lm.model.eval()
    for row, log_p in zip(rows, found, strict=True):
        logits = lm.model(torch.tensor([row.prompt + row.response])).logits[0].double()
        expected = [
            float(logits[len(row.prompt) + i - 1].log_softmax(-1)[token]) for i, token in enumerate(row.response)
        ]
        assert log_p.tolist() == pytest.approx(expected, abs=1e-5)


def test_mean_probability_by_hand() -> None:
    """p = 1/2, 1/8 and 1: the geometric mean of the first two is 1/4; of the masked last one, 1."""
    log_p = torch.tensor([0.5, 0.125, 1.0]).log()
    assert mean_probability(log_p, [True, True, False]) == pytest.approx(0.25)
    assert mean_probability(log_p, [False, False, True]) == pytest.approx(1.0)


def test_answers_may_be_half_as_long_again_as_the_longest(lm: LanguageModel) -> None:
    assert answer_length(lm, ["4", "4444"]) == 4 * 3 // 2 + 8
