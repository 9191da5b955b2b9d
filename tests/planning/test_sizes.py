"""Parameters from config.json alone are those of transformers' own models, to the last one."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

from expunge.errors import InputError
from expunge.model import LanguageModel
from expunge.planning.sizes import ARCHITECTURES, read_sizes, sizes_of
from expunge.training.config import UnlearnConfig
from expunge.training.trained import made_trainable

SMALL: dict[str, Any] = {
    "vocab_size": 100, "hidden_size": 48, "intermediate_size": 112, "num_hidden_layers": 3, "num_attention_heads": 4,
}  # fmt: skip
LLAMA = SMALL | {"num_key_value_heads": 2}
CONFIGS = {
    "llama": LlamaConfig(**LLAMA),
    "llama tied": LlamaConfig(**LLAMA, tie_word_embeddings=True),
    "llama with biases": LlamaConfig(**LLAMA, attention_bias=True, mlp_bias=True),
    "llama with wide heads": LlamaConfig(**LLAMA, head_dim=20),
    "llama, as many key heads": LlamaConfig(**SMALL),
    "mistral": MistralConfig(**LLAMA),
    "qwen2": Qwen2Config(**LLAMA),
    "qwen2 tied": Qwen2Config(**LLAMA, tie_word_embeddings=True),
    "qwen3": Qwen3Config(**LLAMA),
    "qwen3 tied, with biases": Qwen3Config(**LLAMA, head_dim=16, tie_word_embeddings=True, attention_bias=True),
    "gpt2": GPT2Config(vocab_size=100, n_embd=48, n_layer=3, n_head=4, n_positions=64, bos_token_id=0, eos_token_id=0),
    "gpt2 untied": GPT2Config(
        vocab_size=100, n_embd=48, n_layer=3, n_head=4, n_inner=80, tie_word_embeddings=False, bos_token_id=0,
        eos_token_id=0,
    ),
    "gpt_neox": GPTNeoXConfig(**SMALL),
    "gpt_neox tied": GPTNeoXConfig(**SMALL, tie_word_embeddings=True),
    "gpt_neox without biases": GPTNeoXConfig(**SMALL, attention_bias=False),
}  # fmt: skip


def empty(config: Any) -> Any:
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def count(model: Any, *, trained: bool = False) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trained)


@pytest.mark.parametrize("name", CONFIGS)
def test_parameters_are_counted_exactly(name: str, tmp_path: Path) -> None:
    config = CONFIGS[name]
    config.save_pretrained(tmp_path)
    sizes, model = read_sizes(str(tmp_path)), empty(config)
    assert sizes.parameters == count(model)
    made_trainable(SimpleNamespace(model=model), UnlearnConfig())
    assert sizes.trained() == count(model, trained=True)


@pytest.mark.filterwarnings("ignore:fan_in_fan_out")
@pytest.mark.parametrize("name", ["llama tied", "qwen2", "qwen3", "gpt2", "gpt_neox"])
def test_adapters_are_counted_exactly(name: str, tmp_path: Path) -> None:
    config = CONFIGS[name]
    config.save_pretrained(tmp_path)
    model = get_peft_model(empty(config), LoraConfig(r=3, target_modules="all-linear", task_type="CAUSAL_LM"))
    assert read_sizes(str(tmp_path)).adapter(3) == count(model, trained=True)


@pytest.mark.filterwarnings("ignore:fan_in_fan_out")
@pytest.mark.parametrize("modules", ["(down|c)_proj", r"[02]\.(self_attn.[qv]_proj|mlp.c_fc|attention.dense)", "all"])
@pytest.mark.parametrize("name", ["llama", "qwen3", "gpt2", "gpt_neox"])
def test_what_modules_name_is_counted(name: str, modules: str, tmp_path: Path) -> None:
    config = CONFIGS[name]
    config.save_pretrained(tmp_path)
    sizes, model = read_sizes(str(tmp_path)), empty(config)
    if modules == "all":
        assert sizes.trained("all") == count(model) and sizes.adapter(3, "all") == sizes.adapter(3)
        return
    if modules[0] == "(" and name == "gpt_neox":  # it names nothing
        assert sizes.trained(modules) == sizes.trained()
        return
    for rank in (0, 3):
        named = UnlearnConfig(modules=modules if rank else f"({modules}).weight", lora_rank=rank)
        made = made_trainable(LanguageModel("m", empty(config), None, torch.float32), named)
        assert count(made.model, trained=True) == (sizes.adapter(rank, modules) if rank else sizes.trained(modules))


def test_every_architecture_is_counted() -> None:
    assert {config.model_type for config in CONFIGS.values()} == set(ARCHITECTURES)


def test_a_known_model() -> None:
    """Llama 3 8B has 8,030,261,248 parameters, and its config.json was written before `dtype` was called so."""
    fields = {
        "model_type": "llama", "vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "torch_dtype": "bfloat16",
    }  # fmt: skip
    sizes = sizes_of(fields, Path("config.json"))
    assert (sizes.parameters, sizes.dtype) == (8_030_261_248, "bfloat16")


def test_the_built_in_model_has_a_name() -> None:
    assert read_sizes("town").parameters == 2_410_560


FIELDS = {"model_type": "qwen3", **LLAMA, "head_dim": 16}


@pytest.mark.parametrize("field", FIELDS)
def test_a_missing_field_is_named(field: str, tmp_path: Path) -> None:
    fields = {k: v for k, v in FIELDS.items() if k != field}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    with pytest.raises(InputError, match=f"config.json: '{field}' is missing"):
        read_sizes(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"model_type": "mamba"}',
            "'model_type' is 'mamba', an architecture that cannot be planned\n  Known: llama, ",
        ),
        ('{"model_type": ["llama"]}', "an architecture that cannot be planned"),
        (json.dumps(FIELDS | {"hidden_size": "48"}), "'hidden_size' must be a positive whole number"),
        (json.dumps(FIELDS | {"vocab_size": 0}), "'vocab_size' must be a positive whole number"),
        (json.dumps(FIELDS | {"num_hidden_layers": True}), "'num_hidden_layers' must be a positive whole number"),
        ("{", "not valid JSON"),
        ("[]", "not a JSON object"),
    ],
)
def test_a_bad_config_is_one_clear_message(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match="config.json: ") as caught:
        read_sizes(str(tmp_path))
    assert message in str(caught.value)


def test_no_model_and_no_config(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no config.json in this folder"):
        read_sizes(str(tmp_path))
    with pytest.raises(InputError, match="cannot read the config of the model 'no/such'"):
        read_sizes("no/such")
    with pytest.raises(InputError, match="cannot read the config of the model 'a b'"):
        read_sizes("a b")
