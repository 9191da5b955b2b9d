"""Prompts that begin alike: their beginning is read once, and what follows is the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from expunge import kv_cache, prefill
from expunge.decoding import paddable
from expunge.dialogue import Dialogue
from expunge.generation import greedy
from expunge.message import Message
from expunge.model import LanguageModel
from test_decoding import adapted, answers, gpt2, llama, mamba, sliding, usual

LONG = (9, 5, 6, 7, 8, 4)
PROMPTS = [(4, 8), (*LONG, 4), (*LONG, 4, 8, 5), (*LONG, 6, 6), (7, 7, 9)]


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefill, "SHARED", 3)
    monkeypatch.setattr(prefill, "SAVED", 6)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("make", [llama, sliding, gpt2, mamba, adapted])
@pytest.mark.parametrize("cached", [4096, 8])
def test_the_same_answers_as_transformers(
    make: Callable[[], Any], cached: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefill, "CPU_TOKENS", cached)
    lengths = set()
    for seed in range(4):
        torch.manual_seed(seed)
        model = make()
        found = answers(model, [PROMPTS])
        assert found == [usual(model, prompt) for prompt in PROMPTS]
        lengths |= set(map(len, found))
    assert len(lengths) > 2


def shapes(model: Any) -> list[tuple[int, ...]]:
    """Of what is put to the model from now on."""
    found: list[tuple[int, ...]] = []
    model.register_forward_pre_hook(
        lambda _, __, given: found.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    return found


@pytest.mark.usefixtures("eager")
def test_a_common_beginning_is_read_once() -> None:
    torch.manual_seed(0)
    model = llama()
    assert paddable(model.eval())  # tried beforehand
    read = shapes(model)
    answers(model, [PROMPTS])
    assert read[:4] == [(1, 9), (1, 6), (3, 3), (1, 9)], "padded to the longest, nine tokens"


def test_a_window_that_would_count_the_padding_shares_nothing() -> None:
    torch.manual_seed(0)
    model = sliding()
    options = {"attention_mask": torch.ones(2, 3), "position_ids": torch.ones(2, 3)}
    assert not kv_cache.movable(options | {"cache": _cache(model)})
    assert kv_cache.movable(options | {"cache": _cache(llama())})
    assert not kv_cache.movable(options | {"cache": _cache(llama()), "token_type_ids": torch.ones(2, 3)})


def _cache(model: Any) -> Any:
    return model(input_ids=torch.tensor([[4, 5]]), use_cache=True).past_key_values


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=40), min_size=1, max_size=60), st.booleans())
def test_every_row_is_in_one_piece(prompts: list[list[int]], in_order: bool) -> None:
    prompts = sorted(prompts) if in_order else prompts
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefill, "SHARED", 2)
        patch.setattr(prefill, "SAVED", 4)
        pieces = list(prefill._pieces(prompts))
    assert [i for rows, _ in pieces for i in rows] == list(range(len(prompts)))
    for rows, shared in pieces:
        beginnings = {tuple(prompts[i][:shared]) for i in rows}
        assert len(beginnings) == 1 and all(shared < len(prompts[i]) for i in rows)
        assert shared == 0 or (shared >= 2 and shared * (len(rows) - 1) >= 4)


def test_one_system_prompt_for_all_is_read_once(lm_plain: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    system = Message("system", "You are the clerk of the town, and answer in a few words. " * 4)
    asked = [Dialogue((system, Message("user", f"Where is number {n}?"))) for n in range(40)]
    read = shapes(lm_plain.model)
    found = greedy(lm_plain, asked, max_new_tokens=3)
    whole = sum(len(lm_plain.format.encode_prompt(d)) for d in asked)
    assert sum(rows * columns for rows, columns in read) < whole / 3
    monkeypatch.setattr(prefill, "SAVED", 10**6)
    assert greedy(lm_plain, asked, max_new_tokens=3) == found
