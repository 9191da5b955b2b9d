"""Exact-match accuracy of saved weights, skill by skill."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from expunge.demo.dataset import answered, read
from expunge.demo.rows import Row


def load(folder: Path) -> tuple[Any, Any]:
    """The saved model in float32 and its tokenizer, set up for batched generation."""
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.eval(), tokenizer


@torch.no_grad()
def replies(model: Any, tokenizer: Any, rows: list[Row], batch: int = 128) -> list[str]:
    """Greedy answers to each row's last question."""
    prompts = [
        tokenizer.apply_chat_template(row["messages"][:-1], tokenize=False, add_generation_prompt=True) for row in rows
    ]
    said: list[str] = []
    for start in range(0, len(prompts), batch):
        inputs = tokenizer(prompts[start : start + batch], return_tensors="pt", padding=True, add_special_tokens=False)
        out = model.generate(
            input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], max_new_tokens=48, do_sample=False
        )
        said += tokenizer.batch_decode(out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return said


def accuracy(model: Any, tokenizer: Any, rows: list[Row], by: str = "skill") -> dict[str, float]:
    """Share of exactly right answers, for each value of the field `by`."""
    right: dict[str, list[bool]] = defaultdict(list)
    for row, said in zip(rows, replies(model, tokenizer, rows), strict=True):
        right[row[by]].append(said in answered(row))
    return {name: sum(hits) / len(hits) for name, hits in right.items()}


def measure(folder: Path, data: Path) -> dict[str, float]:
    """Every figure of one model: each skill, and how much of the forget rows it says."""
    model, tokenizer = load(folder)
    figures = accuracy(model, tokenizer, read(data / "ability.jsonl"))
    figures.update(accuracy(model, tokenizer, read(data / "neighbours.jsonl")))
    trained = [row for row in read(data / "dialogues.jsonl") if "forget" in row]
    for which, rows in (("trained", trained), ("unseen", read(data / "unseen.jsonl"))):
        for label, share in accuracy(model, tokenizer, rows, "forget").items():
            figures[f"forget {label} {which}"] = share
    return figures


def mistakes(folder: Path, rows: list[Row], limit: int = 20) -> list[tuple[str, str, str]]:
    """Some wrong answers: question, right answer, what was said."""
    model, tokenizer = load(folder)
    found = [
        (row["messages"][-2]["content"], row["messages"][-1]["content"], said)
        for row, said in zip(rows, replies(model, tokenizer, rows), strict=True)
        if said not in answered(row)
    ]
    return found[:limit]
