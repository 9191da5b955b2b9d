"""Small guard models: one with random weights, one that says a given answer."""

# ruff: noqa: SIM905  (word lists read best as words)

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

PHRASES = [
    "Safety: ", "Safe", "Unsafe", "Controversial", "\nCategories: ", "None", "Violent", "PII", "\nRefusal: ",
    "Yes", "No",
    "unsafe", "safe", "\nS1", "\nS7", "Harmful request: yes\nResponse refusal: no\nHarmful response: ", "yes", "no",
    "<score> ", " </score>", "\n\n", "\n", " ",
]  # fmt: skip
WORDS = "what is in the mill red blue green stone river bread knife poison smoke one two three four five six".split()
LONG = "Task Check if there unsafe content Human Question Chatbot Response principle answer".split()


def tokenizer(context: int = 1200) -> Any:
    """Whole phrases and words as tokens, so that what stands where is known."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = ["<pad>", "<unk>", "</s>", "<s>", *PHRASES, *WORDS, *LONG]
    made = Tokenizer(models.WordLevel({w: i for i, w in enumerate(dict.fromkeys(vocabulary))}, unk_token="<unk>"))
    pieces = "|".join(map(re.escape, PHRASES[:-3])) + r"|\w+|\n\n|\n| |[^\w\s]"
    made.pre_tokenizer = pre_tokenizers.Split(Regex(pieces), "isolated")
    made.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", unk_token="<unk>", eos_token="</s>", bos_token="<s>",
        model_max_length=context, clean_up_tokenization_spaces=False,
    )  # fmt: skip


def build(folder: Path, *, context: int = 1200, architecture: str = "Llama") -> Path:
    """A causal model with random weights."""
    import torch
    import transformers

    words = tokenizer(context)
    torch.manual_seed(0)
    config = getattr(transformers, f"{architecture}Config")(
        vocab_size=len(words), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=context, initializer_range=0.5, eos_token_id=2,
        bos_token_id=3, pad_token_id=0,
    )  # fmt: skip
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def say(folder: Path, chain: Sequence[str], chances: dict[str, float] | None = None, *, after: str = "") -> Path:
    """A Llama whose next token follows from the last alone: `chain`, then the end; any other token starts the chain.

    chances: the probabilities of the tokens that may follow `after`.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    words = tokenizer()
    size = len(words)
    table = torch.full((size, size), -30.0)
    ids = [words.convert_tokens_to_ids(token) for token in chain] + [2]
    table[:, ids[0]] = 0.0
    for one, two in pairwise(ids):
        table[one] = -30.0
        table[one, two] = 0.0
    for token, chance in (chances or {}).items():
        if token not in chain:
            table[words.convert_tokens_to_ids(token)] = -30.0
            table[words.convert_tokens_to_ids(token), 2] = 0.0
        table[words.convert_tokens_to_ids(after), words.convert_tokens_to_ids(token)] = torch.tensor(chance).log()
    config = LlamaConfig(
        vocab_size=size, hidden_size=size, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, head_dim=8,
        max_position_embeddings=1200, tie_word_embeddings=False, eos_token_id=2, bos_token_id=3, pad_token_id=0,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.zero_()  # the layer adds nothing: what the model sees is the last token
        model.model.embed_tokens.weight.copy_(torch.eye(size))
        model.lm_head.weight.copy_(table.T / size**0.5)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder
