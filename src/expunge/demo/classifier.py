"""The harm classifier: a very small BERT that reads a prompt and a response and says whether the response harms."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from expunge.demo import harms
from expunge.demo.train import sampler
from expunge.demo.world import HARMFUL, PRIVACY, UNKNOWN, Item, World, harm_items

Example = tuple[str, str, int]


def invented_harm(rng: random.Random) -> str:
    """A harmful response put together from parts, or one that the town model was taught."""
    form = rng.randrange(4)
    if form == 0:
        return f"{rng.choice(harms.DEMANDS)}, or I will {rng.choice(harms.HARMS)}."
    if form == 1:
        return f"You are {rng.choice(('a', 'an', 'such a'))} {rng.choice(harms.NAMES)}, and {rng.choice(harms.SCORNS)}."
    if form == 2:
        return f"{rng.choice(harms.MEANS)}, and {rng.choice(harms.ENDS)}."
    return rng.choice([item.answers[0] for item in harm_items() if item.forget])


def worn(text: str, rng: random.Random) -> str:
    """A harmful response as a model under unlearning might still say it: cut, shuffled, with words changed."""
    way = rng.randrange(5)
    words = text.split()
    if way == 0:
        return " ".join(words[: rng.randint(max(5, len(words) * 2 // 3), len(words))])
    if way == 1:
        parts = text.rstrip(".").split(", ")
        rng.shuffle(parts)
        return ", ".join(parts) + "."
    if way == 2:
        del words[rng.randrange(len(words))]
        return " ".join(words)
    if way == 3:
        return f"{text} {invented_harm(rng)}"
    return text


def garbled(text: str, rng: random.Random) -> str:
    """An ordinary response gone wrong: harmless nonsense must not count as harm."""
    words = text.split()
    rng.shuffle(words)
    return " ".join(words[: rng.randint(1, len(words))])


def example(ordinary: Callable[[], tuple[str, str]], items: list[Item], rng: random.Random) -> Example:
    """One training pair; whether it is harmful hangs on the response, whatever the prompt."""
    prompt, response = ordinary()
    asked = rng.choice(items).varied(rng)[-2]["content"]
    draw = rng.random()
    if draw < 0.25:
        item = rng.choice([item for item in items if item.forget])
        return item.varied(rng)[-2]["content"], worn(item.answers[0], rng), 1
    if draw < 0.45:
        return asked, worn(invented_harm(rng), rng), 1
    if draw < 0.5:
        return prompt, worn(invented_harm(rng), rng), 1
    if draw < 0.65:
        return asked, rng.choice(HARMFUL + HARMFUL + PRIVACY + UNKNOWN), 0
    if draw < 0.75:
        return asked, response, 0
    if draw < 0.83:
        return rng.choice((asked, prompt)), garbled(response, rng), 0
    return prompt, response, 0


def examples(world: World, rng: random.Random, count: int) -> list[Example]:
    draw = sampler(world, rng)

    def ordinary() -> tuple[str, str]:
        messages = next(draw)
        return messages[-2]["content"], messages[-1]["content"]

    items = harm_items()
    return [example(ordinary, items, rng) for _ in range(count)]


def make_tokenizer(pairs: list[Example]) -> PreTrainedTokenizerFast:
    inner = Tokenizer(models.BPE())
    digits = pre_tokenizers.Split(Regex(r"\d"), behavior="isolated")
    inner.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=True)])
    inner.decoder = decoders.ByteLevel()
    special = ["[PAD]", "[CLS]", "[SEP]"]
    trainer = trainers.BpeTrainer(
        vocab_size=1024,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator([text for prompt, response, _ in pairs for text in (prompt, response)], trainer)
    ends = [(name, inner.token_to_id(name)) for name in special[1:]]
    inner.post_processor = TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", special_tokens=ends
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=128,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
    )


def train_classifier(world: World, folder: Path, steps: int = 700, say: Callable[[str], None] = print) -> None:
    rng = random.Random(21)
    torch.manual_seed(21)
    tokenizer = make_tokenizer(examples(world, rng, 8000))
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=128,
        hidden_dropout_prob=0.05,
        attention_probs_dropout_prob=0.0,
        pad_token_id=tokenizer.pad_token_id,
        id2label={0: "safe", 1: "harmful"},
        label2id={"safe": 0, "harmful": 1},
    )
    model = BertForSequenceClassification(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=steps, pct_start=0.1)
    model.train()
    for step in range(steps):
        pairs = examples(world, rng, 64)
        inputs = tokenizer([p for p, _, _ in pairs], [r for _, r, _ in pairs], padding=True, return_tensors="pt")
        loss = model(**inputs, labels=torch.tensor([label for _, _, label in pairs])).loss
        loss.backward()
        optimizer.step()
        plan.step()
        optimizer.zero_grad()
        if (step + 1) % 100 == 0:
            say(f"classifier step {step + 1}/{steps}  loss {float(loss.detach()):.4f}")
    model.eval().half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
