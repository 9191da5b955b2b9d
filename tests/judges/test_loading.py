"""How long a judge's input may be, and what tells its weights from others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import BertConfig, BloomConfig, LlamaConfig, RobertaConfig
from transformers.tokenization_utils_base import VERY_LARGE_INTEGER

from expunge.identity import judge_digest
from expunge.judges.loading import longest_input


class Tokenizer:
    def __init__(self, longest: int = VERY_LARGE_INTEGER) -> None:
        self.model_max_length = longest


@pytest.mark.parametrize(
    ("tokenizer", "config", "longest"),
    [
        (Tokenizer(), LlamaConfig(max_position_embeddings=300), 300),
        (Tokenizer(200), LlamaConfig(max_position_embeddings=300), 200),
        (Tokenizer(), RobertaConfig(max_position_embeddings=514, pad_token_id=1), 512),
        (Tokenizer(), BertConfig(max_position_embeddings=514, pad_token_id=1), 514),
        (Tokenizer(), BloomConfig(), 512),
    ],
)
def test_what_tokenizer_and_model_both_take(tokenizer: Tokenizer, config: Any, longest: int) -> None:
    """RoBERTa's first position is the one after the padding's: two of its 514 hold no token."""
    assert longest_input(tokenizer, config) == longest


def test_weights_are_known_by_their_commit_or_their_files(tmp_path: Path) -> None:
    config, other = LlamaConfig(), LlamaConfig()
    config._commit_hash, other._commit_hash = "a", "b"
    assert judge_digest(Path("org/model"), config) != judge_digest(Path("org/model"), other)
    (tmp_path / "model.safetensors").write_text("1")
    first = judge_digest(tmp_path, config)
    assert first == judge_digest(tmp_path, other)
    (tmp_path / "README.md").write_text("what it is for")
    assert judge_digest(tmp_path, config) == first
    (tmp_path / "model.safetensors").write_text("2")
    assert judge_digest(tmp_path, config) != first
