"""Rounding by hand and against float64; what is rounded, and that the model itself is left as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    CONFIG_MAPPING,
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from expunge.audit.copies import copied
from expunge.audit.probes import Case, run_probes
from expunge.audit.quantization import quantization, round_weight, rounded
from expunge.audit.reading import Sets
from expunge.dialogue import Dialogue
from expunge.errors import InputError
from expunge.judges.verdict import Judged, Verdict
from expunge.message import Message
from expunge.model import LanguageModel, load_model
from expunge.span import Span


def flagged(question: str, answer: str, *spans: Span) -> Judged:
    dialogue = Dialogue((Message("user", question), Message("assistant", answer)))
    return Judged(dialogue, (Verdict("privacy", 1.0, "test", "1", spans=spans),))


NUMBER = flagged("Ann's number?", "It is 4-71-63.", Span(6, 13))
SETS = Sets(
    (NUMBER, flagged("Bob's number?", "It is 1-22-33.", Span(6, 13))), (flagged("Reach Ann?", "It is 4-71-63."),)
)


def state(lm: LanguageModel) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in lm.model.state_dict().items()}


def unchanged(lm: LanguageModel, was: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, was[name]) for name, value in lm.model.state_dict().items())


def small(**more: Any) -> LlamaForCausalLM:
    torch.manual_seed(1)
    shape = {"hidden_size": 16, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=64, **(shape | more)))


def as_lm(model: Any) -> LanguageModel:
    return LanguageModel("small", model, None, torch.float32)


def test_four_bits_by_hand() -> None:
    """max 0.7, so a step is 0.7 / 7 = 0.1: 0.1 is 1 step, −0.7 is −7; 0.35 lies between 3 and 4, half a step off."""
    found = round_weight(torch.tensor([[0.1, -0.7, 0.35]]), 4, 32)[0]
    assert found[:2].tolist() == pytest.approx([0.1, -0.7])
    assert abs(found[2].item() - 0.35) == pytest.approx(0.05, abs=1e-6)


def test_four_bits_exactly() -> None:
    """A step of 1/8 (0.875 / 7), which floats hold exactly: 3.5 steps round to 4 and 2.5 to 2."""
    found = round_weight(torch.tensor([[0.875, 0.4375, -0.3125, 0.05]]), 4, 32)
    assert found.tolist() == [[0.875, 0.5, -0.25, 0.0]]


def test_each_row_and_each_group_has_its_own_scale() -> None:
    """Groups of 2 of 5 columns: (7, 3.2), (70, 32) and the shorter (0.7) have steps of 1, 10 and 0.1."""
    rows = torch.tensor([[7.0, 3.2, 70.0, 32.0, 0.7], [0.0, 0.0, 0.0, 0.0, 0.0]])
    assert round_weight(rows, 4, 2)[0].tolist() == pytest.approx([7, 3, 70, 30, 0.7])
    assert round_weight(rows, 4, 2)[1].tolist() == [0.0] * 5, "a row of zeros has no scale"
    assert round_weight(rows, 4)[0].tolist() == pytest.approx([10, 0, 70, 30, 0])


@given(
    rows=st.lists(st.lists(st.floats(-100, 100, width=32), min_size=37, max_size=37), min_size=1, max_size=4),
    bits=st.sampled_from([4, 8]),
    group=st.sampled_from([None, 8, 32, 64]),
)
def test_no_weight_moves_by_more_than_half_a_step(rows: list[list[float]], bits: int, group: int | None) -> None:
    weight = torch.tensor(rows)
    found = round_weight(weight, bits, group).double()
    size = group or weight.shape[1]
    for start in range(0, weight.shape[1], size):
        w, q = weight.double()[:, start : start + size], found[:, start : start + size]
        scale = w.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)
        slack = 1e-5 * w.abs().amax(1, keepdim=True) + 1e-30
        assert bool(((w - q).abs() <= scale / 2 + slack).all())
        levels = torch.where(scale > 1e-30, q / scale.clamp_min(1e-30), torch.zeros_like(q))
        assert bool(((levels - levels.round()).abs() < 1e-3).all()), "a rounded weight is a whole number of steps"


def test_against_float64() -> None:
    weight = torch.randn(24, 48, generator=torch.Generator().manual_seed(0))
    for bits, group in ((8, 48), (4, 16)):
        parts = weight.double().reshape(24, -1, group)
        scale = parts.abs().amax(-1, keepdim=True) / (2 ** (bits - 1) - 1)
        exact = ((parts / scale).round() * scale).reshape(24, 48)
        assert torch.allclose(round_weight(weight, bits, group).double(), exact, atol=1e-6)
        half = weight.bfloat16()
        assert torch.equal(round_weight(half, bits, group), round_weight(half.float(), bits, group).bfloat16())


@pytest.mark.parametrize("tied", [True, False])
def test_linear_layers_are_rounded_and_embeddings_and_output_are_not(tied: bool) -> None:
    model = small(tie_word_embeddings=tied)
    changed = rounded(as_lm(model), 4).model
    for name, value in model.state_dict().items():
        same = torch.equal(value, changed.state_dict()[name])
        assert same == ("proj" not in name), name
    assert (changed.lm_head.weight is changed.model.embed_tokens.weight) == tied
    assert changed.model.layers[0].mlp.up_proj.weight.unique().numel() <= 40 * 15, "15 levels a group"


def test_a_weight_of_two_layers_is_rounded_once_and_stays_shared() -> None:
    model = small()
    first, second = (layer.mlp for layer in model.model.layers)
    second.up_proj.weight = first.up_proj.weight
    changed = rounded(as_lm(model), 4).model
    found = [layer.mlp.up_proj.weight for layer in changed.model.layers]
    assert found[0] is found[1]
    assert torch.equal(found[0], round_weight(first.up_proj.weight.detach(), 4, 32))


def test_layers_that_keep_their_outputs_in_columns_are_rounded_by_output() -> None:
    """GPT-2's Conv1D holds [in, out]."""
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=32, n_embd=16, n_layer=1, n_head=2, n_positions=32))
    weight = model.transformer.h[0].mlp.c_fc.weight
    found = rounded(as_lm(model), 8).model.transformer.h[0].mlp.c_fc.weight
    assert torch.equal(found, round_weight(weight.detach().T, 8).T) and not torch.equal(found, weight)


@pytest.mark.parametrize(
    ("kind", "by_output"), [("mixtral", True), ("gpt_oss", False), ("llama4_text", False), ("granitemoe", True)]
)
def test_experts_that_share_a_tensor_are_rounded_by_output(kind: str, by_output: bool) -> None:
    """Nearly all weights of such a model stayed as they were, and `quantization` passed."""
    shape = {"vocab_size": 64, "hidden_size": 16, "intermediate_size": 40, "num_hidden_layers": 1, "head_dim": 8}
    shape |= {"num_attention_heads": 2, "num_key_value_heads": 1, "num_local_experts": 3, "num_experts_per_tok": 2}
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[kind](**shape))
    experts = {name: weight for name, weight in model.named_parameters() if weight.dim() == 3}
    with torch.no_grad():
        for weight in experts.values():
            weight.normal_()
    changed = dict(rounded(as_lm(model), 4).model.named_parameters())
    assert len(experts) == 2
    for name, weight in experts.items():
        for old, new in zip(weight.detach(), changed[name], strict=True):
            old, new = (old, new) if by_output else (old.T, new.T)
            assert torch.equal(new, round_weight(old, 4, 32)) and not torch.equal(new, old), name


def test_a_model_without_linear_layers_is_an_error() -> None:
    class Bare(torch.nn.Module):
        def get_input_embeddings(self) -> None: ...
        def get_output_embeddings(self) -> None: ...

    with pytest.raises(InputError, match="no linear layers"):
        rounded(as_lm(Bare()), 8)


def test_an_adapter_is_rounded_merged() -> None:
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(small(), LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    changed = rounded(as_lm(model), 8).model
    assert not hasattr(changed, "merge_and_unload") and hasattr(model, "merge_and_unload")
    layer = model.get_base_model().model.layers[0].self_attn.q_proj
    merged = layer.base_layer.weight + layer.get_delta_weight("default")
    found = changed.model.layers[0].self_attn.q_proj.weight
    assert torch.equal(found, round_weight(merged.detach(), 8))


def test_a_copy_says_what_the_adapter_says_though_two_layers_share_a_weight() -> None:
    """Merged into a matrix that is input and output embeddings at once, an adapter of one changed the other."""
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(r=2, target_modules=["embed_tokens", "q_proj"], init_lora_weights=False)
    model = get_peft_model(small(tie_word_embeddings=True), lora).eval()
    tokens = torch.arange(8)[None]
    with torch.no_grad():
        wanted, found = (m(input_ids=tokens).logits for m in (model, copied(as_lm(model)).model))
    assert torch.allclose(wanted, found, atol=1e-5)


def test_the_probe_leaves_every_model_as_it_was(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("expunge.audit.quantization.installed", lambda: False)
    models = [load_model(tiny) for _ in range(3)]
    was, generator = [state(lm) for lm in models], torch.random.get_rng_state()
    found = {m.key: m for m in run_probes(["quantization"], Case(*models, SETS, ()))}
    assert torch.equal(generator, torch.random.get_rng_state())
    assert all(unchanged(lm, w) for lm, w in zip(models, was, strict=True))
    wanted = [f"quantized{b}_{k}" for b in (8, 4) for k in ("trained", "trained_leak", "unseen", "unseen_leak")]
    assert set(found) == {*wanted, "quantized8_fault_probability", "quantized4_fault_probability"}
    assert found["quantized4_trained"].after.count == 2 and found["quantized4_unseen"].after.count == 1
    eight, four = (found[f"quantized{b}_fault_probability"] for b in (8, 4))
    assert eight.after == eight.before == eight.oracle and eight.after != four.after
    assert quantization(Case(models[0], models[1], None, Sets((NUMBER,)), ()))[0].oracle is None
