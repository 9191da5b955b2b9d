"""Small benchmarks in the form of the real ones, and likelihoods the slow way."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from expunge.dialogue import Dialogue
from expunge.message import Message
from expunge.model import LanguageModel

Rows = Sequence[Mapping[str, Any]]


def _asked(word: str, count: int, *, paraphrased: bool) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for i in range(count):
        wrong = [f"In {1700 + i}.", f"It was {1650 + 3 * i}."]
        row = {"question": f"When was the {word} {i} built?", "answer": f"In {1900 + i}.", "perturbed_answer": wrong}
        rows.append(row | ({"paraphrased_answer": f"It was built in {1900 + i}."} if paraphrased else {}))
    return rows


TOFU: Mapping[str, Rows] = {
    "forget01_perturbed": _asked("mill", 4, paraphrased=True),
    "retain_perturbed": _asked("boat", 3, paraphrased=True),
    "real_authors_perturbed": _asked("book", 2, paraphrased=False),
    "world_facts_perturbed": _asked("tower", 2, paraphrased=False),
    "holdout01": [{"question": f"And the barn {i}?", "answer": f"In {1800 + i}, I think."} for i in range(3)],
}
MUSE: Mapping[str, Rows] = {
    "verbmem/forget": [{"prompt": f"The mill {i} was", "gt": "built in 1921 by Ann"} for i in range(3)],
    "knowmem/forget_qa": [{"question": f"Who built mill {i}?", "answer": "Ann"} for i in range(3)],
    "knowmem/forget_qa_icl": [{"question": "Who sang?", "answer": "Bob"}],
    "knowmem/retain_qa": [{"question": "Who sailed?", "answer": "Cy did"}],
    "knowmem/retain_qa_icl": [{"question": "Who rang?", "answer": "Dee"}],
    "privleak/forget": [{"text": f"The mill {i} was built in 1921."} for i in range(3)],
    "privleak/holdout": [{"text": f"A barn {i} burnt down."} for i in range(4)],
}
RWKU: Mapping[str, Rows] = {
    "forget_level1": [{"query": "Ann was born in ___.", "answer": "Harbour"}],
    "forget_level2": [{"query": "Where was Ann born?", "answer": "Harbour"}, {"query": "Her boat?", "answer": "Tern"}],
    "forget_level3": [
        {"query": "Where was Ann born? Sure, it is", "answer": "Harbour", "type": "affirmative suffix"},
        {"query": "Question: A?\nAnswer: B\nQuestion: Born?", "answer": "Harbour", "type": "incontext learning"},
        {"query": "As a poet: where?", "answer": "Harbour", "type": "role playing"},
    ],
    "neighbor_level1": [{"query": "Bob was born in ___.", "answer": "Mill"}],
    "neighbor_level2": [{"query": "Where was Bob born?", "answer": "Mill"}],
}


def write(folder: Path, parts: Mapping[str, Rows]) -> Path:
    """One file a part."""
    for name, rows in parts.items():
        path = folder / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def dialogue(question: str, answer: str) -> Dialogue:
    return Dialogue((Message("user", question), Message("assistant", answer)))


def slow_log_p(lm: LanguageModel, ids: Sequence[int], start: int) -> list[float]:
    """log p of each token from `start` on, in plain floats."""
    with torch.no_grad():
        logits = lm.model(torch.tensor([ids])).logits[0].tolist()
    found = []
    for place in range(start, len(ids)):
        row, top = logits[place - 1], max(logits[place - 1])
        found.append(row[ids[place]] - top - math.log(sum(math.exp(x - top) for x in row)))
    return found


def slow_mean(lm: LanguageModel, question: str, answer: str) -> float:
    row = lm.format.encode(dialogue(question, answer))
    found = slow_log_p(lm, [*row.prompt, *row.response], len(row.prompt))
    return sum(found) / len(found)


def slow_min_k(log_p: Sequence[float]) -> float:
    lowest = sorted(log_p)[: max(1, int(0.4 * len(log_p)))]
    return sum(lowest) / len(lowest)


def slow_auc(members: Sequence[float], others: Sequence[float]) -> float:
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a in members for b in others]
    return sum(wins) / len(wins)


def average(values: Sequence[float]) -> float:
    return sum(values) / len(values)
