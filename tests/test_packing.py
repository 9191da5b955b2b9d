"""Rows packed into few sequences: the same outputs, losses and gradients as each row by itself, in any architecture."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import transformers
from hypothesis import given
from hypothesis import strategies as st

from expunge.batches import Batch, forward_rows
from expunge.encoding import Encoded
from expunge.output_layer import OutputLayer
from expunge.packing import pack, packable

SIZES = {"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "pad_token_id": 0}
MLP = {"intermediate_size": 32, "max_position_embeddings": 64}
NARROW = {"sliding_window": 4, "head_dim": 8}
GEMMA = {"layer_types": ["sliding_attention", "full_attention"], "final_logit_softcapping": 3.0}
PACKED = {
    "llama": (transformers.LlamaConfig, {**MLP, "num_key_value_heads": 1}),
    "mistral": (transformers.MistralConfig, {**MLP, **NARROW, "num_key_value_heads": 1}),
    "gpt2": (transformers.GPT2Config, {"n_positions": 64}),
    "gpt_neox": (transformers.GPTNeoXConfig, {**MLP, "rotary_pct": 0.5}),
    "gemma3": (transformers.Gemma3TextConfig, {**MLP, **NARROW, "num_key_value_heads": 1, **GEMMA}),
}
GROUPED = {"num_key_value_heads": 1, "head_dim": 8}
MAMBA = {"mamba_d_head": 8, "mamba_d_state": 4, "mamba_n_groups": 1, "mamba_chunk_size": 8}
JAMBA = {"attn_layer_period": 2, "attn_layer_offset": 1, "mamba_d_state": 4, "mamba_dt_rank": 4, "num_experts": 1}
JAMBA |= {"use_mamba_kernels": False}
QWEN = {"linear_num_key_heads": 2, "linear_num_value_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8}
QWEN |= {"layer_types": ["linear_attention", "full_attention"], "mlp_only_layers": [0, 1]}
MINIMAX = {"layer_types": ["linear_attention", "full_attention"], "num_local_experts": 1, "num_experts_per_tok": 1}
GRIFFIN = {"lru_width": 16, "attention_window_size": 8, "num_hidden_layers": 3}
APART = {
    "opt": (transformers.OPTConfig, {"ffn_dim": 32, "max_position_embeddings": 64, "word_embed_proj_dim": 16}),
    "bloom": (transformers.BloomConfig, {"n_head": 2}),
    "mamba": (transformers.MambaConfig, {"state_size": 4}),
    "lfm2": (transformers.Lfm2Config, {**MLP, "layer_types": ["conv", "full_attention"], "num_key_value_heads": 1}),
    "falcon_h1": (transformers.FalconH1Config, {**MLP, **GROUPED, **MAMBA, "mamba_d_ssm": 16, "mamba_n_heads": 2}),
    "jamba": (transformers.JambaConfig, {**MLP, **GROUPED, **JAMBA}),
    "qwen3_next": (transformers.Qwen3NextConfig, {**MLP, **GROUPED, **QWEN}),
    "minimax": (transformers.MiniMaxConfig, {**MLP, **GROUPED, **MINIMAX}),
    "recurrent_gemma": (transformers.RecurrentGemmaConfig, {**MLP, **GROUPED, **GRIFFIN}),
    "rwkv": (transformers.RwkvConfig, {"attention_hidden_size": 16, "intermediate_size": 32}),
    "xlstm": (transformers.xLSTMConfig, {"hidden_size": 128, "num_heads": 2, "num_blocks": 2, "chunk_size": 8}),
}


def model_of(name: str) -> Any:
    kind, options = {**PACKED, **APART}[name]
    torch.manual_seed(0)
    config = kind(**{**SIZES, **options, "initializer_range": 0.2})
    return transformers.AutoModelForCausalLM.from_config(config).eval()


def rows(count: int = 9) -> list[Encoded]:
    drawn = torch.Generator().manual_seed(1)

    def ids(most: int) -> tuple[int, ...]:
        length = int(torch.randint(1, most, (1,), generator=drawn))
        return tuple(torch.randint(1, 60, (length,), generator=drawn).tolist())

    return [Encoded(ids(9), response, (True,) * len(response)) for response in (ids(12) for _ in range(count))]


Said = tuple[torch.Tensor, torch.Tensor | None]
"""Logits of the response, and hidden states."""


def packed(model: Any, given: list[Encoded], layers: tuple[int, ...]) -> list[Said]:
    layer = OutputLayer(model)
    return [(layer(output.last), output.hidden) for output in forward_rows(model, given, "cpu", layers)]


def alone(model: Any, row: Encoded, layers: tuple[int, ...]) -> Said:
    ids = torch.tensor([row.prompt + row.response])
    found = model(input_ids=ids, output_hidden_states=True, use_cache=False)
    hidden = torch.stack([found.hidden_states[layer][0] for layer in layers], 1) if layers else None
    return found.logits[0, len(row.prompt) - 1 : -1], hidden


@pytest.mark.parametrize("name", [*PACKED, *APART])
def test_a_row_in_a_padded_batch_says_what_it_says_alone(name: str) -> None:
    """In every architecture: states that go on from token to token have not met the padding yet."""
    model, given = model_of(name), rows()
    batch = Batch.of(given)
    for row, logits in zip(given, batch.split(batch.logits(model)), strict=True):
        torch.testing.assert_close(logits, alone(model, row, ())[0], atol=1e-5, rtol=0)


def loss_and_gradients(
    model: Any, read: Callable[[], list[Said]], given: list[Encoded]
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    model.zero_grad()
    loss = torch.zeros(())
    for (logits, hidden), row in zip(read(), given, strict=True):
        loss = loss + F.cross_entropy(logits, torch.tensor(row.response)) / len(given)
        if hidden is not None:
            loss = loss + hidden.square().mean() / len(given)
    loss.backward()
    return loss.detach(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("layers", [(), (1, 2)], ids=["logits", "hidden"])
@pytest.mark.parametrize("name", [*PACKED, *APART])
def test_packed_rows_equal_each_row_by_itself(name: str, layers: tuple[int, ...]) -> None:
    model, given = model_of(name), rows()
    assert packable(model) == (name in PACKED)
    together, apart = packed(model, given, layers), [alone(model, row, layers) for row in given]
    for one, other in zip(together, apart, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
    loss, gradients = loss_and_gradients(model, lambda: packed(model, given, layers), given)
    same, expected = loss_and_gradients(model, lambda: [alone(model, row, layers) for row in given], given)
    torch.testing.assert_close(loss, same, atol=1e-5, rtol=0)
    assert gradients.keys() == expected.keys()
    for parameter, gradient in gradients.items():
        atol = 3e-4 if name == "rwkv" else 1e-5  # its exponentials are taken one after another
        torch.testing.assert_close(gradient, expected[parameter], atol=atol, rtol=1e-5)


def test_a_model_is_tried_out_as_it_is() -> None:
    """Without the dropout that GPT-2 trains with."""
    model = model_of("gpt2").train()
    assert packable(model) and model.training


def test_the_window_of_a_packed_row_matters() -> None:
    """Else the test above would pass without one."""
    narrow, wide, given = model_of("mistral"), model_of("mistral"), rows()
    wide.config.sliding_window = None
    found = [torch.cat([o.last.detach() for o in forward_rows(model, given, "cpu")]) for model in (narrow, wide)]
    assert float((found[0] - found[1]).abs().max()) > 1e-2


def test_no_rows_no_outputs() -> None:
    assert forward_rows(model_of("llama"), [], "cpu") == forward_rows(model_of("bloom"), [], "cpu") == []


def test_no_token_goes_through_the_output_layer_unasked() -> None:
    model, given = model_of("llama"), rows()
    forward_rows(model, given, "cpu")  # the first time it is tried out besides
    seen: list[int] = []
    model.lm_head.register_forward_hook(lambda _, inputs, output: seen.append(output.shape[:-1].numel()))
    found = forward_rows(model, given, "cpu")
    assert seen == [0] and [len(output.last) for output in found] == [len(row.response) for row in given]


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40), st.sampled_from([16, 192, 4096]))
def test_every_row_lies_in_one_sequence_and_fits(lengths: list[int], width: int) -> None:
    packing = pack(lengths, width)
    assert sorted(packing.order) == list(range(len(lengths)))
    filled = [sum(lengths[i] for i in packed) for packed in packing.bins]
    assert max(filled) == packing.columns < 2 * max(lengths) + 1
    assert all(a + b > packing.columns for a, b in itertools.pairwise(filled)), "two could have been one"


def test_where_rows_lie() -> None:
    """Lengths 3, 1, 4, 2 in sequences of up to 5: the longest first, each into the first that has room for it."""
    packing = pack([3, 1, 4, 2], width=64)
    assert (packing.bins, packing.columns) == (((2, 1), (0, 3)), 5)
    values = [[1, 2, 3], [4], [5, 6, 7, 8], [9, 10]]
    assert packing.lay(values).tolist() == [[5, 6, 7, 8, 4], [1, 2, 3, 9, 10]]
