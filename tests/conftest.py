"""What all tests share: one thread, no network, and a small random model."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("same every time", derandomize=True, deadline=None, database=None, max_examples=50)
settings.load_profile("same every time")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any connection but to this machine fails the test."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test opened a connection to {address[0]}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random Llama (2 layers, width 32, context 128) and the town's tokenizer and chat template."""
    return _tiny(tmp_path_factory.mktemp("tiny"), template=True)


@pytest.fixture(scope="session")
def tiny_plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without a chat template."""
    return _tiny(tmp_path_factory.mktemp("plain"), template=False)


@pytest.fixture(scope="session")
def lm(tiny: Path) -> Any:
    """The tiny model, loaded once."""
    from expunge.model import load_model

    return load_model(tiny)


@pytest.fixture(scope="session")
def lm_plain(tiny_plain: Path) -> Any:
    """The tiny model without chat template, loaded once."""
    from expunge.model import load_model

    return load_model(tiny_plain)


def _tiny(folder: Path, *, template: bool) -> Path:
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from expunge import demo

    tokenizer = AutoTokenizer.from_pretrained(demo.path("model"))
    if not template:
        tokenizer.chat_template = None
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=128,
        initializer_range=0.2,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
