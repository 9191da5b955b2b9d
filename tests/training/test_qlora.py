"""A base in 4 bits under an adapter (QLoRA), as bitsandbytes holds it on the CPU."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from expunge import demo
from expunge.batches import Batch
from expunge.dialogue import read_dialogues
from expunge.errors import InputError, MissingExtraError
from expunge.generation import mean_probability, token_log_probs
from expunge.judges.names import load_judge
from expunge.judges.panel import judge_all
from expunge.model import LanguageModel, load_model
from expunge.selection import Split, read_normal, split
from expunge.training.config import UnlearnConfig
from expunge.training.trained import fixed_digests
from expunge.training.unlearn import unlearn

QUICK = UnlearnConfig(
    max_steps=6, judge_every=2, forget_rows=4, normal_rows=4, learning_rate=3e-3, warmup_steps=0, settle_steps=0,
    lora_rank=4, base_bits=4,
)  # fmt: skip
PROJECTIONS = [f"self_attn.{n}_proj" for n in "qkvo"] + [f"mlp.{n}_proj" for n in ("gate", "up", "down")]


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama whose layers' inputs are multiples of 64, with biases."""
    folder = tmp_path_factory.mktemp("wide")
    tokenizer = AutoTokenizer.from_pretrained(demo.path("model"))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=128, initializer_range=0.2, bos_token_id=None, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, attention_bias=True,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def packed(folder: str | Path) -> LanguageModel:
    pytest.importorskip("bitsandbytes")
    return load_model(folder, device="cpu", bits=4)


def layers(model: Any) -> dict[str, Any]:
    return {name: p for name, p in model.named_parameters() if hasattr(p, "quant_state")}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(next(folder.glob("*.safetensors")))


def known() -> Split:
    """Three dialogues of the town with private values, which it knows by heart, and six ordinary ones."""
    dialogues = list(islice(read_dialogues(str(demo.path("dialogues.jsonl"))), 60))
    flagged = [item for item in judge_all([load_judge("privacy")], dialogues) if item.flagged]
    return split(flagged[:3], read_normal((f"{demo.path('normal.jsonl')}[:6]",)))


def at_fault(lm: LanguageModel, parts: Split) -> list[float]:
    """The probability of the tokens at fault of each old response."""
    rows = [lm.format.encode(item.dialogue, item.spans) for item in parts.forget]
    return [mean_probability(p, row.fault) for p, row in zip(token_log_probs(lm, rows), rows, strict=True)]


def switch_off(lm: LanguageModel) -> None:
    """The adapter that a training left on it."""
    for module in lm.model.modules():
        if isinstance(module, BaseTunerLayer):
            module.enable_adapters(False)


def test_it_forgets_on_a_base_that_stays(tmp_path: Path) -> None:
    """What is written is an adapter; it works on the base as it was trained, in 4 bits, and on the base as it is."""
    lm, parts = packed("town"), known()
    before, fixed = at_fault(lm, parts), fixed_digests(lm.model.requires_grad_(False))
    assert min(before) > 0.9
    done = unlearn(lm, parts, tmp_path, config=replace(QUICK, max_steps=10, judged=False, learning_rate=6e-3))
    assert done.path.name == "adapter" and all("lora_" in name for name in weights(done.path))
    after = fixed_digests(lm.model).items()
    assert {n.replace("base_layer.", "").removeprefix("base_model.model."): found for n, found in after} == fixed
    for unlearned in (lm, load_model(done.path, device="cpu")):
        assert max(at_fault(unlearned, parts)) < 0.1
    switch_off(lm)
    assert at_fault(lm, parts) == before


def test_a_killed_run_goes_on_to_the_same_weights(wide: Path, parts: Split, tmp_path: Path) -> None:
    straight = unlearn(packed(wide), parts, tmp_path / "straight", config=QUICK)

    def kill(entry: dict[str, Any]) -> None:
        if entry["step"] == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unlearn(packed(wide), parts, tmp_path / "killed", config=QUICK, on_round=kill)
    resumed = unlearn(packed(wide), parts, tmp_path / "killed", config=QUICK)
    one, other = weights(straight.path), weights(resumed.path)
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert straight.history == resumed.history


def test_linear_layers_alone_are_held_in_half_a_byte_a_weight(wide: Path) -> None:
    """And a byte for each 64 weights, in place of a scale in float32."""
    lm, plain = packed(wide), load_model(wide, device="cpu")
    held, sizes = layers(lm.model), {name: p.numel() for name, p in plain.model.named_parameters()}
    assert set(held) == {f"model.layers.{i}.{n}.weight" for i in (0, 1) for n in PROJECTIONS}
    for name, p in held.items():
        scales = p.quant_state.absmax
        assert (p.nbytes, scales.nbytes) == (sizes[name] // 2, sizes[name] // 64) and p.quant_state.quant_type == "nf4"
    others = {name: p for name, p in lm.model.named_parameters() if name not in held}
    assert all(torch.equal(p, plain.model.get_parameter(name)) for name, p in others.items())


def test_what_was_read_changes_no_weight_and_no_gradient(wide: Path) -> None:
    """On a CPU with bfloat16, bitsandbytes repacks weights in evaluation, after which no gradient goes through."""
    lm, ids = packed(wide), torch.tensor([[5, 6, 7, 8]])

    def gradient() -> torch.Tensor:
        inputs = lm.model.get_input_embeddings()(ids).detach().requires_grad_()
        lm.model.train()(inputs_embeds=inputs, labels=ids).loss.backward()
        lm.model.eval()
        assert inputs.grad is not None
        return inputs.grad

    before, fixed = gradient(), fixed_digests(lm.model.requires_grad_(False))
    with torch.no_grad():
        lm.model(ids)
    assert fixed_digests(lm.model) == fixed and torch.equal(gradient(), before)


def test_a_change_of_codes_or_scales_is_noticed(wide: Path) -> None:
    model = packed(wide).model.requires_grad_(False)
    name, weight = next(iter(layers(model).items()))
    for part in (weight.data, weight.quant_state.absmax, weight.quant_state.state2.absmax):
        before = fixed_digests(model)
        part.view(-1)[0] += 1
        assert {n for n, found in fixed_digests(model).items() if found != before[n]} == {name}


def test_layers_that_keep_their_outputs_in_columns(parts: Split, tmp_path: Path) -> None:
    """GPT-2's: an adapter trained on them in 4 bits works on them as they are."""
    tokenizer = AutoTokenizer.from_pretrained(demo.path("model"))
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_embd=64, n_layer=1, n_head=2, n_positions=128, bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt2")
    tokenizer.save_pretrained(tmp_path / "gpt2")
    lm = packed(tmp_path / "gpt2")
    done = unlearn(lm, parts, tmp_path, config=replace(QUICK, learning_rate=1e-2))
    lm.model.eval()  # it has dropout
    loaded, base = load_model(done.path, device="cpu"), load_model(tmp_path / "gpt2", device="cpu")
    batch = Batch.of([base.format.encode(d) for d in parts.normal[:3]])
    with torch.no_grad():
        trained, adapted, original = (batch.logits(model.model) for model in (lm, loaded, base))
        switch_off(lm)
        rounded = batch.logits(lm.model)
    added, there = adapted - original, trained - rounded
    assert (added - there).abs().mean() < 0.2 * there.abs().mean()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"base_bits": 4}, "base_bits = 4: needs a lora_rank"),
        ({"base_bits": 8, "lora_rank": 2}, "base_bits = 8: must be 0 or 4"),
        ({"base_bits": 4, "lora_rank": 2, "bits": 4}, "bits = 4: an adapter's weights"),
    ],
)
def test_settings_that_do_not_go_together(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        UnlearnConfig.of(**given)


def test_dora_goes_with_it(wide: Path, parts: Split, tmp_path: Path) -> None:
    done = unlearn(packed(wide), parts, tmp_path, config=replace(QUICK, max_steps=2, dora=True))
    assert any("lora_magnitude" in name for name in weights(done.path))


def test_a_model_that_was_not_loaded_so(tiny: Path, parts: Split, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not loaded in 4 bits\n  Load it with load_model\(name, bits=4\)"):
        unlearn(load_model(tiny), parts, tmp_path, config=QUICK)
    assert not list(tmp_path.iterdir())


def test_layers_that_a_cpu_multiplies_wrongly(tiny: Path) -> None:
    with pytest.raises(InputError, match=r"q_proj has 32 inputs; on a CPU, 4 bits take multiples of 64"):
        packed(tiny)


def test_other_bits(tiny: Path) -> None:
    with pytest.raises(InputError, match="bits = 8: a model can be loaded in 4 bits"):
        load_model(tiny, device="cpu", bits=8)


def test_without_bitsandbytes(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("expunge.four_bits.installed", lambda: False)
    with pytest.raises(MissingExtraError, match=r"(?s)'bitsandbytes>=0.50'.*pip install 'expunge\[quantization\]'"):
        load_model(tiny, device="cpu", bits=4)
