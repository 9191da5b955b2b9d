"""Decoding that lets ended rows go and new ones in, against transformers' own loop and against one without a cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    GenerationConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MiniMaxConfig,
    MiniMaxForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    RecurrentGemmaConfig,
    RecurrentGemmaForCausalLM,
    RwkvConfig,
    RwkvForCausalLM,
)

from expunge import decoding
from expunge.decoding import Decoder, paddable
from expunge.dialogue import Dialogue
from expunge.generation import greedy
from expunge.message import Message
from expunge.model import LanguageModel

ENDS, WIDTH, ROOM = [1, 2, 3], 24, 20
Prompts = Sequence[tuple[int, ...]]
BATCHES: list[Prompts] = [
    [(9, 5), (6, 7, 8, 9), (4, 4, 8), (9, 5, 4, 6), (7,)],
    [(8, 8, 4, 6, 5, 7, 9), (9, 5), (5,), (6, 4)],
    [(7, 7)],
]
PROMPTS = [prompt for batch in BATCHES for prompt in batch]
SHAPE = {"vocab_size": WIDTH, "hidden_size": 16, "num_hidden_layers": 2}
HEADS = {"intermediate_size": 24, "num_attention_heads": 2, "num_key_value_heads": 1, "initializer_range": 0.6}


def llama() -> Any:
    return LlamaForCausalLM(LlamaConfig(**SHAPE, **HEADS))


def sliding() -> Any:
    return MistralForCausalLM(MistralConfig(**SHAPE, **HEADS, sliding_window=5))


def gpt2() -> Any:
    shape = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 29, "initializer_range": 0.6}
    return GPT2LMHeadModel(GPT2Config(vocab_size=WIDTH, bos_token_id=1, eos_token_id=2, **shape))


def mamba() -> Any:
    return MambaForCausalLM(MambaConfig(**SHAPE, state_size=4, initializer_range=0.6))


def rwkv() -> Any:
    """It takes no notice of a mask."""
    return RwkvForCausalLM(RwkvConfig(**SHAPE, attention_hidden_size=16, intermediate_size=24))


def griffin() -> Any:
    """Nor does its convolution."""
    shape = {**SHAPE, **HEADS, "num_hidden_layers": 3, "head_dim": 8, "lru_width": 16, "attention_window_size": 8}
    return RecurrentGemmaForCausalLM(RecurrentGemmaConfig(**shape, w_init_variance_scale=0.6))


def minimax() -> Any:
    kinds = ["linear_attention", "full_attention"]
    return MiniMaxForCausalLM(
        MiniMaxConfig(**SHAPE, **HEADS, head_dim=8, layer_types=kinds, num_local_experts=2, num_experts_per_tok=1)
    )


def mixtral() -> Any:
    return MixtralForCausalLM(MixtralConfig(**SHAPE, **HEADS, num_local_experts=4, num_experts_per_tok=2))


def longrope(length: int = 12, **changed: Any) -> Any:
    """Tokens of sequences longer than `length` are turned otherwise, so that the cache is of no use there."""
    rope = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [4.0] * 4}
    more = {"original_max_position_embeddings": length, "rope_parameters": rope, "pad_token_id": 1}
    return Phi3ForCausalLM(Phi3Config(**{**SHAPE, **HEADS, **more, "max_position_embeddings": 64, **changed}))


def adapted() -> Any:
    from peft import LoraConfig, get_peft_model

    return get_peft_model(llama(), LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))


def answers(model: Any, batches: Sequence[Prompts] = BATCHES, **options: Any) -> list[list[int]]:
    model.eval().generation_config = GenerationConfig()
    decoder = Decoder(model, ENDS, **options)
    with torch.inference_mode():
        for batch in batches:
            decoder.ask(batch, ROOM)
        decoder.finish()
    assert decoder.ended == len(decoder.said)
    return decoder.said


def usual(model: Any, prompt: tuple[int, ...]) -> list[int]:
    """The greedy answer by transformers' own loop."""
    config = GenerationConfig(max_new_tokens=ROOM, eos_token_id=ENDS, pad_token_id=1, do_sample=False)
    model.eval().generation_config = GenerationConfig()
    mask = torch.ones(1, len(prompt), dtype=torch.long)
    rows = model.generate(input_ids=torch.tensor([prompt]), attention_mask=mask, generation_config=config)
    return rows[0, len(prompt) :].tolist()


def cut(row: list[int]) -> list[int]:
    """Up to the first end token."""
    return row[: next((i + 1 for i, token in enumerate(row) if token in ENDS), len(row))]


def slow(model: Any, prompt: tuple[int, ...], numbers: Sequence[float], temperature: float) -> list[int]:
    """Everything read anew for every token; the first word whose cumulated probability is above the uniform number."""
    said: list[int] = []
    while len(said) < ROOM and not (said and said[-1] in ENDS):
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([[*prompt, *said]]), use_cache=False).logits[0, -1]
        reach = (logits.double() / temperature).softmax(-1).cumsum(-1).tolist()
        said.append(next(i for i, x in enumerate(reach) if x > numbers[len(said)]))
    return said


MODELS = pytest.mark.parametrize("make", [llama, sliding, gpt2, mamba, adapted])


@pytest.mark.parametrize("length", [6, 12, 25, 40])
def test_a_model_that_reads_all_anew_somewhere(length: int) -> None:
    batches = [*BATCHES, [(9, 5, 6)] * 2]
    for seed in range(4):
        torch.manual_seed(seed)
        model = longrope(length)
        assert [cut(row) for row in answers(model, batches)] == [usual(model, p) for batch in batches for p in batch]
        drawn = answers(model, batches, samples=3)
        assert answers(model, [batches[-1]], samples=3) == drawn[-6:]
        assert drawn[-6:-3] != drawn[-3:]


def test_what_is_read_all_anew_is_drawn_from_the_same_distribution() -> None:
    """Of the seventy least likely words of 120, as many as there should be; transformers' default is to draw none."""
    torch.manual_seed(0)
    model = longrope(4, vocab_size=120, initializer_range=0.2)
    model.eval().generation_config = GenerationConfig()
    prompt, count, temperature = (9, 5, 6, 7, 8), 3000, 2.0
    with torch.inference_mode():
        chances = (model(input_ids=torch.tensor([prompt])).logits[0, -1] / temperature).softmax(-1)
        rare, state = chances.argsort()[:70].tolist(), torch.get_rng_state()
        decoder, other = (Decoder(model, ENDS, samples=count, temperature=temperature, seed=seed) for seed in (1, 2))
        decoder.ask([prompt], 1)
        other.ask([prompt], 1)
    assert decoder.said != other.said and torch.equal(state, torch.get_rng_state())
    share = float(chances[rare].sum())
    assert share > 0.1
    drawn = sum(row[0] in rare for row in decoder.said) / count
    assert drawn == pytest.approx(share, abs=4 * (share * (1 - share) / count) ** 0.5)


@MODELS
@pytest.mark.parametrize("cached", [4096, 8])
def test_the_same_answers_as_transformers(
    make: Callable[[], Any], cached: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The prompts of a batch are read all at once, or two at a time."""
    monkeypatch.setattr("expunge.prefill.CPU_TOKENS", cached)
    lengths = set()
    for seed in range(4):
        torch.manual_seed(seed)
        model = make()
        found = answers(model)
        assert found == [usual(model, prompt) for prompt in PROMPTS]
        assert found == answers(model, [PROMPTS]) == answers(model, [[prompt] for prompt in PROMPTS])
        lengths |= set(map(len, found))
    assert len(lengths) > 2, "rows end at different places"


@pytest.mark.parametrize("make", [rwkv, griffin, minimax])
def test_a_model_that_reads_padding_is_asked_row_by_row(make: Callable[[], Any]) -> None:
    torch.manual_seed(3)
    model = make()
    assert not paddable(model.eval())
    assert [cut(row) for row in answers(model, BATCHES[:1])] == [usual(model, prompt) for prompt in BATCHES[0]]
    assert answers(model, BATCHES[:1], samples=2)[2:4] == answers(model, [BATCHES[0][1:2]], samples=2)


def test_nor_does_such_a_row_wait_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "paddable", lambda _: False)
    torch.manual_seed(1)
    model = llama()
    rows = counted(model)
    answers(model)
    assert set(rows) == {1}


@pytest.mark.parametrize("make", [llama, sliding, gpt2, mamba, mixtral])
def test_other_models_are_asked_together(make: Callable[[], Any]) -> None:
    assert paddable(make().eval())


@MODELS
def test_draws_are_those_of_a_loop_without_a_cache(make: Callable[[], Any]) -> None:
    torch.manual_seed(5)
    model, samples = make(), 3
    found = answers(model, samples=samples, temperature=1.3, seed=7)
    source = Decoder(model, ENDS, samples=samples, seed=7)
    numbers = [row for batch in BATCHES for row in source._drawn(batch, ROOM)]
    repeated = [prompt for prompt in PROMPTS for _ in range(samples)]
    assert found == [slow(model, prompt, row, 1.3) for prompt, row in zip(repeated, numbers, strict=True)]
    assert len({len(row) for row in found}) > 2 and len(set(map(tuple, found))) > len(found) / 2


def test_draws_depend_on_the_prompt_and_how_often_it_was_asked() -> None:
    torch.manual_seed(5)
    model = llama()
    found = answers(model, samples=3, seed=7)
    first, again = found[:3], found[18:21]
    assert PROMPTS[0] == PROMPTS[6] and first != again
    assert answers(model, [[PROMPTS[0]], [PROMPTS[0]]], samples=3, seed=7) == first + again
    assert answers(model, [PROMPTS[::-1]], samples=3, seed=7)[9:12] == again[:0] + first
    assert answers(model, samples=3, seed=8) != found


def test_draws_for_two_prompts_have_nothing_in_common() -> None:
    """A model to which all words are as likely says something else to each."""
    model = llama()
    torch.nn.init.zeros_(model.lm_head.weight)
    found = answers(model, [[(9, 5), (6, 7), (4,)]], samples=2)
    assert len({tuple(row[:2]) for row in found}) == 6


def counted(model: Any) -> list[int]:
    """How many rows each forward has, from now on."""
    rows: list[int] = []
    model.register_forward_pre_hook(lambda _, __, given: rows.append(len(given["input_ids"])), with_kwargs=True)
    return rows


def test_an_ended_row_costs_no_more() -> None:
    torch.manual_seed(1)
    model = llama()
    assert paddable(model.eval())  # tried beforehand
    rows = counted(model)
    found = answers(model)
    assert sum(rows) == sum(map(len, found)) < ROOM * len(found)


def test_the_last_rows_go_on_with_the_next_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []
    for few in (decoding.FEW, 10**9):  # of which none wait
        monkeypatch.setattr(decoding, "FEW", few)
        forwards, found = 0, []
        for seed in range(4):
            torch.manual_seed(seed)
            model = llama()
            rows = counted(model)
            found.append(answers(model, samples=3))
            forwards += len(rows)
        steps.append((forwards, found))
    assert steps[0][0] < steps[1][0] and steps[0][1] == steps[1][1]


def test_samples_that_are_alike_so_far_are_one_row() -> None:
    """As many rows in all as there are distinct beginnings, the prompt's among them, that go on."""
    torch.manual_seed(3)
    model = llama()
    assert paddable(model.eval())  # tried beforehand
    rows = counted(model)
    found = answers(model, samples=8)
    begun = {(i // 8, tuple(row[:n])) for i, row in enumerate(found) for n in range(len(row))}
    assert sum(rows) == len(begun) < sum(map(len, found))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), unique=True, max_size=12))
def test_no_row_goes_to_the_place_of_one_that_stays(heirs: list[tuple[int, int]]) -> None:
    """And those that need not move, do not."""
    found = decoding._arranged(heirs)
    assert sorted(found) == sorted(heirs)
    stay = {place for place, (row, _) in enumerate(found) if row == place}
    assert stay == {row for row, _ in heirs if row < len(heirs)}


@pytest.mark.parametrize("size", [1, 2])
def test_processes_that_share_a_model_must_keep_step(
    size: int, lm: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    generate = lm.model.generate
    monkeypatch.setattr(lm.model, "generate", lambda **options: seen.append(options) or generate(**options))
    asked = [Dialogue((Message("user", "When?"),)), Dialogue((Message("user", "Where was that?"),))]
    usually = greedy(lm, asked, max_new_tokens=2)
    seen.clear()
    with monkeypatch.context() as patch:
        patch.setattr(torch.distributed, "is_initialized", lambda: True)
        patch.setattr(torch.distributed, "get_world_size", lambda: size)
        assert greedy(lm, asked, max_new_tokens=2) == usually
    assert ["custom_generate" in options for options in seen] == [size == 1]


def test_an_answer_that_fills_the_context_is_cut_there() -> None:
    """GPT-2 has no position beyond: 27 here, for the longest prompt of 7 and 20 tokens of an answer."""
    torch.manual_seed(0)
    model = gpt2()
    found = answers(model)
    assert max(map(len, found)) == ROOM
