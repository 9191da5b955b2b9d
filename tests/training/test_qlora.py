"""A base in 4 bits under an adapter (QLoRA), as bitsandbytes holds it on the CPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from expunge import demo
from expunge.batches import Batch
from expunge.errors import InputError, MissingExtraError
from expunge.generation import mean_probability
from expunge.model import LanguageModel, load_model
from expunge.selection import Split
from expunge.training.config import UnlearnConfig
from expunge.training.trained import fixed_digests
from expunge.training.unlearn import unlearn

QUICK = UnlearnConfig(
    max_steps=6, judge_every=2, forget_rows=4, normal_rows=4, learning_rate=3e-3, warmup_steps=0, settle_steps=0,
    lora_rank=4, base_bits=4,
)  # fmt: skip


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


def packed(folder: Path) -> LanguageModel:
    pytest.importorskip("bitsandbytes")
    return load_model(folder, device="cpu", bits=4)


def layers(model: Any) -> dict[str, Any]:
    return {name: p for name, p in model.named_parameters() if hasattr(p, "quant_state")}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(next(folder.glob("*.safetensors")))
