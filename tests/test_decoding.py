"""Decoding that lets ended rows go, against transformers' own loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import (
    GenerationConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    LogitsProcessorList,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from expunge.decoding import dropping
from expunge.dialogue import Dialogue, Message
from expunge.generation import greedy
from expunge.model import LanguageModel

PAD, ENDS, WIDTH = 0, [1, 2, 3], 24
PROMPTS = torch.tensor([[PAD, PAD, 9, 5], [6, 7, 8, 9], [PAD, 4, 4, 8], [9, 5, 4, 6], [PAD, PAD, PAD, 7]])
MASK = (PROMPTS != PAD).long()
SHAPE = {"vocab_size": WIDTH, "hidden_size": 16, "num_hidden_layers": 2}
HEADS = {"intermediate_size": 24, "num_attention_heads": 2, "num_key_value_heads": 1, "initializer_range": 0.6}


def llama() -> Any:
    return LlamaForCausalLM(LlamaConfig(**SHAPE, **HEADS))


def sliding() -> Any:
    return MistralForCausalLM(MistralConfig(**SHAPE, **HEADS, sliding_window=5))


def gpt2() -> Any:
    shape = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 40, "initializer_range": 0.6}
    return GPT2LMHeadModel(GPT2Config(vocab_size=WIDTH, bos_token_id=1, eos_token_id=2, **shape))


def mamba() -> Any:
    return MambaForCausalLM(MambaConfig(**SHAPE, state_size=4, initializer_range=0.6))


def adapted() -> Any:
    from peft import LoraConfig, get_peft_model

    return get_peft_model(llama(), LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))


def answers(model: Any, *, own: bool, seed: int = 0, samples: int = 0, **options: Any) -> list[list[int]]:
    """Without what follows an end token: the two loops pad differently."""
    drawn = {"do_sample": True, "temperature": 1.3, "top_k": 0, "num_return_sequences": samples}
    config = GenerationConfig(
        max_new_tokens=20, eos_token_id=ENDS, pad_token_id=PAD, **(drawn if samples else {"do_sample": False})
    )
    torch.manual_seed(seed)
    model.eval().generation_config = GenerationConfig()
    rows = model.generate(
        input_ids=PROMPTS, attention_mask=MASK, generation_config=config,
        custom_generate=dropping if own else None, **options,
    )  # fmt: skip
    assert torch.equal(rows[:, :4], PROMPTS.repeat_interleave(max(1, samples), 0))
    return [cut(row) for row in rows[:, 4:].tolist()]


def cut(row: list[int]) -> list[int]:
    return row[: next((i + 1 for i, token in enumerate(row) if token in ENDS), len(row))]


MODELS = pytest.mark.parametrize("make", [llama, sliding, gpt2, mamba, adapted])


def by_reach(p: torch.Tensor, num_samples: int) -> torch.Tensor:
    """The first word whose cumulated probability is above a uniform number."""
    reach, drawn = p.double().cumsum(-1), torch.rand(len(p), dtype=torch.float64)
    return torch.tensor([[next(i for i, x in enumerate(row) if x > u)] for row, u in zip(reach, drawn, strict=True)])


@MODELS
@pytest.mark.parametrize("samples", [0, 3])
@pytest.mark.parametrize("cached", [4096, 8])
def test_the_same_answers_as_transformers(
    make: Callable[[], Any], samples: int, cached: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Transformers' loop draws a number for every word; here it is made to draw one for every row.

    The prompts are read all at once, or two at a time.
    """
    monkeypatch.setattr(torch, "multinomial", by_reach)
    monkeypatch.setattr("expunge.prefill.CACHED", cached)
    lengths = set()
    for seed in range(4):
        torch.manual_seed(seed)
        model = make()
        found = answers(model, own=True, seed=seed, samples=samples)
        assert found == answers(model, own=False, seed=seed, samples=samples)
        lengths |= {len(row) for row in found}
    assert len(lengths) > 2, "rows end at different places"


def test_an_ended_row_costs_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    model, rows = llama(), 0
    forward = model.forward

    def counted(*args: Any, **options: Any) -> Any:
        nonlocal rows
        rows += len(options["input_ids"])
        return forward(*args, **options)

    monkeypatch.setattr(model, "forward", counted)
    found = answers(model, own=True)
    assert rows == sum(map(len, found)) < 20 * len(found)


def test_samples_that_are_alike_so_far_are_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many rows in all as there are distinct beginnings, the prompt's among them, that go on."""
    torch.manual_seed(3)
    model, rows = llama(), 0
    forward = model.forward

    def counted(*args: Any, **options: Any) -> Any:
        nonlocal rows
        rows += len(options["input_ids"])
        return forward(*args, **options)

    monkeypatch.setattr(model, "forward", counted)
    found = answers(model, own=True, samples=8)
    begun = {(i // 8, tuple(row[:n])) for i, row in enumerate(found) for n in range(len(row))}
    assert rows == len(begun) < sum(map(len, found))


def test_processes_that_share_a_model_must_keep_step(lm: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(lm.model, "generate", lambda **options: seen.append(options) or options["input_ids"])
    asked = [Dialogue((Message("user", "When?"),))]
    for size in (1, 2):
        monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
        monkeypatch.setattr(torch.distributed, "get_world_size", lambda size=size: size)
        greedy(lm, asked, max_new_tokens=2)
    assert [options["custom_generate"] for options in seen] == [dropping, None]


def test_processors_and_the_longest_answer_are_kept_to() -> None:
    torch.manual_seed(2)

    def never(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return scores.index_fill(1, torch.tensor(ENDS), -torch.inf)

    found = answers(llama(), own=True, logits_processor=LogitsProcessorList([never]))
    assert [len(row) for row in found] == [20] * len(PROMPTS)
