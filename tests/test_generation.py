"""Answers and likelihoods, against naive loops."""

from __future__ import annotations

import copy
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from expunge.decoding import Decoder
from expunge.dialogue import Dialogue
from expunge.encoding import Encoded
from expunge.errors import InputError
from expunge.generation import answer_length, generate, greedy, leading, mean_probability, token_log_probs, token_scores
from expunge.message import Message
from expunge.model import LanguageModel

PROMPTS = [
    Dialogue((Message("user", text),), id=str(i)) for i, text in enumerate(("a?", "What is 1 plus 1? " * 3, "日本"))
]


def naive(lm: LanguageModel, dialogue: Dialogue, count: int) -> str:
    ids = list(lm.format.prompt_ids(dialogue.prompt))
    start = len(ids)
    for _ in range(count):
        with torch.inference_mode():
            ids.append(int(lm.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] in lm.format.end_ids:
            break
    return lm.format.text(ids[start:])


def test_greedy_is_the_argmax_token_after_token_whatever_the_batch(lm: LanguageModel) -> None:
    wanted = [naive(lm, d, 12) for d in PROMPTS]
    assert greedy(lm, PROMPTS, max_new_tokens=12) == wanted
    assert [greedy(lm, [d], max_new_tokens=12)[0] for d in PROMPTS] == wanted
    assert greedy(lm, PROMPTS[::-1], max_new_tokens=12) == wanted[::-1]
    assert len(set(wanted)) > 1


def test_generation_settings_kept_with_the_model_do_not_interfere(lm: LanguageModel) -> None:
    """Chat models ship a repetition penalty and truncated sampling; an audit asks for the distribution itself."""
    odd = replace(lm, model=copy.deepcopy(lm.model))
    for name, value in {
        "repetition_penalty": 50.0,
        "min_new_tokens": 11,
        "no_repeat_ngram_size": 1,
        "min_p": 0.99,
    }.items():
        setattr(odd.model.generation_config, name, value)
    kept = odd.model.generation_config
    assert greedy(odd, PROMPTS, max_new_tokens=12) == greedy(lm, PROMPTS, max_new_tokens=12)
    drawn = [generate(m, PROMPTS, max_new_tokens=6, samples=3, seed=1) for m in (odd, lm)]
    assert drawn[0] == drawn[1]
    assert odd.model.generation_config is kept and kept.repetition_penalty == 50.0


def test_nor_with_an_adapter_around_the_model(lm: LanguageModel) -> None:
    peft = pytest.importorskip("peft")
    base = copy.deepcopy(lm.model)
    base.generation_config.repetition_penalty = 50.0
    adapted = replace(lm, model=peft.get_peft_model(base, peft.LoraConfig(r=2, target_modules=["q_proj"])))
    assert greedy(adapted, PROMPTS, max_new_tokens=12) == greedy(lm, PROMPTS, max_new_tokens=12)
    assert base.generation_config.repetition_penalty == 50.0


def test_samples_are_seeded_and_leave_the_global_generators_alone(lm: LanguageModel) -> None:
    torch.manual_seed(3)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    first = generate(lm, PROMPTS, max_new_tokens=6, samples=4, seed=1)
    again = (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist())
    assert torch.equal(states[0], again[0]) and states[1:] == again[1:]
    torch.manual_seed(4)
    assert generate(lm, PROMPTS, max_new_tokens=6, samples=4, seed=1) == first
    assert generate(lm, PROMPTS, max_new_tokens=6, samples=4, seed=2) != first
    assert [len(answers) for answers in first] == [4, 4, 4] and len(set(first[0])) > 1


def test_samples_come_from_the_untruncated_distribution(lm: LanguageModel) -> None:
    """One token drawn 2,000 times: each of the three likeliest appears about as often as its probability."""
    drawn = generate(lm, PROMPTS[:1], max_new_tokens=1, samples=2000)[0]
    p = lm.model(torch.tensor([lm.format.prompt_ids(PROMPTS[0].prompt)])).logits[0, -1].detach().softmax(-1).tolist()
    said = [lm.format.text([i]) for i in range(len(p))]
    for text in [said[i] for i in np.argsort(p)[::-1] if said[i]][:3]:
        share = sum(q for q, other in zip(p, said, strict=True) if other == text)
        assert drawn.count(text) / 2000 == pytest.approx(share, abs=5 * (share * (1 - share) / 2000) ** 0.5)


def test_an_answer_ends_before_any_of_the_end_tokens(lm: LanguageModel) -> None:
    first = next(int(i) for i in token_ids(lm, PROMPTS[0], 12))
    ended = replace(lm, format=replace(lm.format, end_ids=(*lm.format.end_ids, first)))
    assert greedy(ended, PROMPTS[:1], max_new_tokens=12) == [""]


def token_ids(lm: LanguageModel, dialogue: Dialogue, count: int) -> list[int]:
    ids = torch.tensor([lm.format.prompt_ids(dialogue.prompt)])
    out = lm.model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, do_sample=False)
    return list(out[0, ids.shape[1] :].tolist())


def test_nothing_asked_nothing_answered(lm: LanguageModel) -> None:
    assert generate(lm, [], max_new_tokens=4) == [] and token_log_probs(lm, []) == []
    assert answer_length(lm, []) > 0


def test_answers_may_be_half_as_long_again_as_the_longest(lm: LanguageModel) -> None:
    assert answer_length(lm, ["4", "4444"]) == 4 * 3 // 2 + 8


@pytest.mark.parametrize("samples", [0, 3])
def test_progress_counts_every_prompt(lm: LanguageModel, samples: int) -> None:
    done: list[int] = []
    generate(lm, PROMPTS, max_new_tokens=1, samples=samples, progress=done.append)
    assert sum(done) == len(PROMPTS)


def test_draws_at_hardly_any_temperature_are_the_greedy_answer(lm: LanguageModel) -> None:
    drawn = generate(lm, PROMPTS, max_new_tokens=6, samples=2, temperature=1e-4)
    assert drawn == [[text] * 2 for text in greedy(lm, PROMPTS, max_new_tokens=6)]


def test_log_probabilities_are_those_of_a_float64_loop(lm: LanguageModel) -> None:
    texts = ["It is 4.", "x", "日本語 and more of it, and more."]
    rows = [lm.format.encode(d.answered(text)) for d, text in zip(PROMPTS, texts, strict=True)]
    model = copy.deepcopy(lm.model).double()
    for row, found in zip(rows, token_log_probs(lm, rows), strict=True):
        ids = list(row.prompt)
        for token, log_p in zip(row.response, found.tolist(), strict=True):
            with torch.inference_mode():
                logits = model(input_ids=torch.tensor([ids])).logits[0, -1]
            assert log_p == pytest.approx(float(logits.log_softmax(-1)[token]), abs=1e-5)
            ids.append(token)


def test_mean_probability_is_the_geometric_mean() -> None:
    log_p = torch.tensor([0.5, 0.125, 0.9]).log()
    assert mean_probability(log_p, [True, True, False]) == pytest.approx(0.25)
    assert mean_probability(log_p) == pytest.approx((0.5 * 0.125 * 0.9) ** (1 / 3))


@pytest.mark.parametrize("training", [True, False])
def test_the_models_mode_is_as_before(lm: LanguageModel, monkeypatch: pytest.MonkeyPatch, training: bool) -> None:
    own = replace(lm, model=copy.deepcopy(lm.model).train(training))
    rows = [lm.format.encode(PROMPTS[0].answered("x"))]
    greedy(own, PROMPTS, max_new_tokens=1)
    token_log_probs(own, rows)
    assert own.model.training is training

    def failing(*args: object, **kwargs: object) -> None:
        assert not own.model.training
        raise RuntimeError

    monkeypatch.setattr(own.model, "generate", failing)
    monkeypatch.setattr(own.model, "forward", failing)
    for call in (lambda: greedy(own, PROMPTS, max_new_tokens=1), lambda: token_log_probs(own, rows)):
        with pytest.raises(RuntimeError):
            call()  # type: ignore[no-untyped-call]
        assert own.model.training is training


def test_a_prompt_that_fills_the_context_is_named(lm: LanguageModel) -> None:
    long = Dialogue((Message("user", "word " * 300),), source="log.jsonl:3")
    with pytest.raises(InputError, match=r"(?s)log\.jsonl:3: \d+ tokens, but the model's context is 128"):
        greedy(lm, [PROMPTS[0], long], max_new_tokens=4)


def test_an_answer_ends_where_the_context_does(lm: LanguageModel) -> None:
    """Models with learned positions cannot go further; and the rows beside it are not cut short with it."""
    near = Dialogue((Message("user", "a?" * 50),))
    room = lm.context - len(lm.format.prompt_ids(near.prompt))
    assert 0 < room < 60
    answers = greedy(lm, [near, PROMPTS[0]], max_new_tokens=60)
    assert answers == [naive(lm, near, room), naive(lm, PROMPTS[0], 60)]


def test_draws_depend_on_the_prompt_alone(lm: LanguageModel) -> None:
    drawn = generate(lm, PROMPTS, max_new_tokens=8, samples=4, seed=3)
    assert [generate(lm, [d], max_new_tokens=8, samples=4, seed=3)[0] for d in PROMPTS] == drawn
    assert generate(lm, PROMPTS[::-1], max_new_tokens=8, samples=4, seed=3)[::-1] == drawn
    assert generate(lm, PROMPTS, max_new_tokens=8, samples=4, seed=4) != drawn
    assert all(len(set(answers)) > 1 for answers in drawn)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_models_distribution(lm: LanguageModel, temperature: float) -> None:
    """The first token of many draws, by chi-squared over the likeliest tokens."""
    from scipy.stats import chisquare

    dialogue, count = PROMPTS[0], 4000
    prompt = lm.format.prompt_ids(dialogue.prompt)
    with torch.inference_mode():
        chances = (lm.model(torch.tensor([prompt])).logits[0, -1] / temperature).softmax(-1)
    top = [t for t in chances.argsort(descending=True)[:12].tolist() if t not in lm.format.end_ids]
    drawn = first_tokens(lm, prompt, count, temperature)
    seen = [drawn.count(t) for t in top]
    expected = [float(chances[t]) * count for t in top]
    rest = count - sum(seen), count - sum(expected)
    assert chisquare([*seen, rest[0]], [*expected, rest[1]]).pvalue > 0.001


def first_tokens(lm: LanguageModel, prompt: tuple[int, ...], count: int, temperature: float) -> list[int]:
    decoder = Decoder(lm.model, lm.format.end_ids, samples=count, temperature=temperature)
    with torch.inference_mode():
        decoder.ask([prompt], 1)
    return [row[0] for row in decoder.said]


def test_a_guess_that_is_right_so_far_is_where_the_answer_starts(lm: LanguageModel) -> None:
    """Half of it right, all, and none: the answers are the same."""
    wanted = [a[0] for a in generate(lm, PROMPTS, max_new_tokens=12)]
    own = [lm.format.encode_prompt(d) for d in PROMPTS]
    said = [continued(lm, ids, 12) for ids in own]
    guesses = [(*said[0][:6], (said[0][6] + 1) % 500 + 4), said[1], ((said[2][0] + 1) % 500 + 4, 9)]
    rows = [Encoded(p, tuple(g), (True,) * len(g)) for p, g in zip(own, guesses, strict=True)]
    starts = [row.response[: leading(s.greedy)] for row, s in zip(rows, token_scores(lm, rows), strict=True)]
    assert [len(start) for start in starts] == [6, 12, 0]
    done: list[int] = []
    assert [a[0] for a in generate(lm, PROMPTS, max_new_tokens=12, starts=starts, progress=done.append)] == wanted
    assert sum(done) == len(PROMPTS)
    ended = (*said[0][:2], lm.format.end_ids[0])
    assert generate(lm, PROMPTS[:1], max_new_tokens=12, starts=[ended]) == [[lm.format.text(said[0][:2])]]
    assert generate(lm, PROMPTS[:1], max_new_tokens=3, starts=[said[0]]) == [[lm.format.text(said[0][:3])]]
    narrow = [d.answered("") for d in PROMPTS]
    assert [a[0] for a in generate(lm, narrow, max_new_tokens=3, starts=[s[:2] for s in said])] == [
        lm.format.text(s[:3]) for s in said
    ]


def continued(lm: LanguageModel, ids: tuple[int, ...], count: int) -> tuple[int, ...]:
    found = list(ids)
    for _ in range(count):
        with torch.inference_mode():
            found.append(int(lm.model(input_ids=torch.tensor([found])).logits[0, -1].argmax()))
    return tuple(found[len(ids) :])


def test_starts_of_unlike_length_end_with_the_models_context(lm: LanguageModel) -> None:
    """Asked together, and no answer is longer than the context allows or the caller."""
    asked = [PROMPTS[0], Dialogue((Message("user", "word " * 38),))]
    own = [lm.format.encode_prompt(d) for d in asked]
    assert lm.context - 12 < len(own[1]) < lm.context
    said = [continued(lm, ids, min(40, lm.context - len(ids))) for ids in own]
    starts = [said[0][:9], said[1][:1]]
    answers = generate(lm, asked, max_new_tokens=40, starts=starts)
    assert [a[0] for a in answers] == [lm.format.text(s) for s in said]


def test_a_large_vocabulary_does_not_split_what_is_asked_together(lm: LanguageModel) -> None:
    """Only the place after each prompt goes through the output layer: its logits bound the prompts, not the tokens."""
    shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=2**17, **shape)).eval()
    read: list[torch.Size] = []
    model.get_output_embeddings().register_forward_pre_hook(lambda _, given: read.append(given[0].shape))
    generate(replace(lm, model=model), [PROMPTS[1]] * 40, max_new_tokens=4)
    assert read[:2] == [(1, 1, 8), (40, 1, 8)] and len(read) <= 5, "what is alike, and what is not"
