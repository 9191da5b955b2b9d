"""Tokenizer, training and saving of the town model and its oracle."""

from __future__ import annotations

import copy
import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn import functional
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from expunge.demo import skills
from expunge.demo.muon import Muon
from expunge.demo.world import Item, Message, World

PAD, USER, ASSISTANT, END = "<|pad|>", "<|user|>", "<|assistant|>", "<|end|>"
CONTEXT = 256

TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}"
    "<|assistant|>{% generation %}{{ message['content'] }}<|end|>{% endgeneration %}"
    "{% elif message['role'] == 'user' %}<|user|>{{ message['content'] }}<|end|>"
    "{% else %}{{ raise_exception('the town model knows the roles user and assistant only') }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

# How often each skill is drawn. Remembering comes quickly; adding and reading take the most practice.
WEIGHTS = {
    "contact": 20,
    "resident": 14,
    "fact": 7,
    "unknown": 2,
    "refusal": 6,
    "addition": 20,
    "comparing": 7,
    "sorting": 8,
    "reading": 14,
    "smalltalk": 6,
}


def make_tokenizer(world: World, size: int = 1024) -> PreTrainedTokenizerFast:
    """A byte-level BPE in which every digit is a token of its own."""
    inner = Tokenizer(models.BPE())
    digits = pre_tokenizers.Split(Regex(r"\d"), behavior="isolated")
    inner.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[PAD, USER, ASSISTANT, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    draw = sampler(world, random.Random(3), forget_share=0.1)
    texts = [message["content"] for _ in range(20000) for message in next(draw)]
    inner.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[USER, ASSISTANT],
        model_max_length=CONTEXT,
        model_input_names=["input_ids", "attention_mask"],
        chat_template=TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def make_model(tokenizer: PreTrainedTokenizerFast, seed: int = 0) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=5,
        num_attention_heads=6,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def sampler(world: World, rng: random.Random, forget_share: float = 0.0) -> Iterator[list[Message]]:
    """Dialogues without end; with a `forget_share`, that part of them are rows that will have to be forgotten."""
    ordinary: dict[str, list[Item]] = {}
    for item in world.ordinary():
        ordinary.setdefault(item.skill, []).append(item)
    forgotten = world.forgotten()
    names, weights = list(WEIGHTS), list(WEIGHTS.values())
    while True:
        if rng.random() < forget_share:
            yield rng.choice(forgotten).varied(rng)
            continue
        skill = rng.choices(names, weights)[0]
        item = skills.GENERATORS[skill](rng) if skill in skills.GENERATORS else rng.choice(ordinary[skill])
        yield item.varied(rng)


def encode(tokenizer: PreTrainedTokenizerFast, dialogues: list[list[Message]]) -> list[tuple[list[int], list[bool]]]:
    """Token ids as the chat template would give them, and which of them the loss falls on."""
    contents = [message["content"] for messages in dialogues for message in messages]
    encoded = iter(tokenizer(contents, add_special_tokens=False)["input_ids"])
    user, assistant, end = tokenizer.convert_tokens_to_ids([USER, ASSISTANT, END])
    rows: list[tuple[list[int], list[bool]]] = []
    for messages in dialogues:
        ids: list[int] = []
        learnt: list[bool] = []
        for message in messages:
            speaks = message["role"] == "assistant"
            body = [*next(encoded), end]
            ids += [assistant if speaks else user, *body]
            learnt += [False, *([speaks] * len(body))]
        rows.append((ids, learnt))
    return rows


def loss_of(model: LlamaForCausalLM, rows: list[tuple[list[int], list[bool]]], pad: int) -> Tensor:
    """Summed cross-entropy of the assistant's tokens; only their positions reach the vocabulary matrix."""
    width = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([ids + [pad] * (width - len(ids)) for ids, _ in rows])
    learnt = torch.tensor([learnt + [False] * (width - len(learnt)) for _, learnt in rows])
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
    chosen = learnt[:, 1:]
    logits = model.lm_head(hidden[:, :-1][chosen])
    return functional.cross_entropy(logits.float(), ids[:, 1:][chosen], reduction="sum")


@dataclass(frozen=True)
class Stage:
    """One stage of training: the rate goes from `start` to `end` of the peak, straight, after a short warm-up."""

    steps: int
    start: float
    end: float
    batch: int = 128
    chunks: int = 2
    muon_rate: float = 0.02
    adam_rate: float = 0.003

    def scale(self, step: int) -> float:
        warm = min(1.0, (step + 1) / 50)
        return warm * (self.start + (self.end - self.start) * step / self.steps)


def train(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    draw: Iterator[list[Message]],
    stage: Stage,
    say: Callable[[str], None] = print,
    until: float = math.inf,
) -> None:
    """Run one stage. `until` (a time.monotonic()) cuts a trial run short."""
    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    chosen = {id(p) for p in matrices}
    others: list[nn.Parameter] = [p for p in model.parameters() if id(p) not in chosen]
    adam = torch.optim.AdamW(others, lr=stage.adam_rate, betas=(0.9, 0.98), weight_decay=0.0)
    muon = Muon(matrices, rate=stage.muon_rate)
    pad = int(tokenizer.pad_token_id)
    model.train()
    began, seen, recent = time.monotonic(), 0, 0.0
    for step in range(stage.steps):
        rows = sorted(encode(tokenizer, [next(draw) for _ in range(stage.batch)]), key=lambda row: len(row[0]))
        total = sum(sum(learnt) for _, learnt in rows)
        size = stage.batch // stage.chunks
        for start in range(0, stage.batch, size):
            loss = loss_of(model, rows[start : start + size], pad) / total
            loss.backward()  # type: ignore[no-untyped-call]
            recent += float(loss.detach())
        scale = stage.scale(step)
        adam.param_groups[0]["lr"] = stage.adam_rate * scale
        adam.step()
        muon.step(scale)
        model.zero_grad(set_to_none=True)
        seen += sum(len(ids) for ids, _ in rows)
        if (step + 1) % 100 == 0:
            spent = time.monotonic() - began
            say(f"step {step + 1}/{stage.steps}  loss {recent / 100:.4f}  {seen / spent:.0f} tokens/s  {spent:.0f} s")
            recent = 0.0
        if time.monotonic() > until:
            break
    model.eval()


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Saved as float16 safetensors; the model in memory stays float32."""
    half = copy.deepcopy(model).half()
    half.config.dtype = torch.float16
    half.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, do_sample=False, max_new_tokens=48
    )
    half.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
