"""How long until the town's model has forgotten and kept the rest: one trainer in a process, printed as JSON.

python bench/forgetting.py ours | textbook [--seed 0] [--rate 1e-4] [--until 0.01] [--keep 0.003] [--seconds 300]

`ours` is the paper's method with the judge in the loop, to its own end; `textbook` is NPO with KL on the same rows. For
both it is noted when the tokens at fault are first as improbable as `--until` on average, and when besides the mean KL
to the original on held-out ordinary rows is within `--keep` nats a token. Set-up and judging are charged, this is not.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers
from textbook import Pair, TextbookNPO, arguments
from transformers import TrainerCallback, TrainingArguments

from expunge import demo
from expunge.batches import Batch
from expunge.dialogue import read_dialogues
from expunge.encoding import Encoded
from expunge.generation import mean_probability, token_log_probs
from expunge.judges import load_judge
from expunge.judges.panel import judge_all
from expunge.model import LanguageModel, load_model
from expunge.selection import Split, split
from expunge.training.config import UnlearnConfig
from expunge.training.material import Material
from expunge.training.unlearn import unlearn

JUDGES = ("privacy", "facts")
FORGET, BATCH, LOOK = 24, 12, 10


def town() -> Split:
    """The first dialogues that the judges flag, and all ordinary ones."""
    dialogues = read_dialogues(demo.path("dialogues.jsonl"))
    judged = judge_all([load_judge(name) for name in JUDGES], dialogues)
    flagged = [item for item in judged if item.flagged][:FORGET]
    return split(flagged, list(read_dialogues(demo.path("normal.jsonl"))))


def remembered(lm: LanguageModel, rows: list[Encoded]) -> float:
    """Mean probability of the tokens at fault."""
    found = token_log_probs(lm, rows)
    return sum(mean_probability(p, row.fault) for p, row in zip(found, rows, strict=True)) / len(rows)


def moved(original: LanguageModel, lm: LanguageModel, rows: list[Encoded]) -> float:
    """What it cost: mean KL(p_ref ‖ p_θ) on ordinary rows, nats a token."""
    batch = Batch.of(rows)
    with torch.no_grad():
        p, q = (m.model.eval() and batch.logits(m.model).log_softmax(-1) for m in (original, lm))
    return float((p.exp() * (p - q)).sum(-1).mean())


class Watch(TrainerCallback):
    """Notes when as much is forgotten, and when as much is kept besides; the clock stands still while it looks."""

    def __init__(self, forgotten: Callable[[], bool], kept: Callable[[], bool], seconds: float | None) -> None:
        self._forgotten, self._kept, self._limit = forgotten, kept, seconds
        self._since = time.process_time()
        self.seconds = 0.0
        self.reached: dict[str, float] = {}

    def pause(self) -> None:
        self.seconds += time.process_time() - self._since

    def on_step_end(self, _: Any, state: Any, control: Any, **__: Any) -> None:
        self.pause()
        if state.global_step % LOOK == 0 and self._forgotten():
            self.reached.setdefault("forgotten", self.seconds)
            if self._kept():
                self.reached.setdefault("both", self.seconds)
        control.should_training_stop |= self._limit is not None and (
            "both" in self.reached or self.seconds > self._limit
        )
        self._since = time.process_time()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trainer", choices=("ours", "textbook"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--until", type=float, default=0.01)
    parser.add_argument("--keep", type=float, default=0.003)
    parser.add_argument("--seconds", type=float, default=300.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    parts, lm, original = town(), load_model("town"), load_model("town")
    rows = list(Material.of(lm.format, with_any_expected(parts)).forget)
    ordinary = [lm.format.encode(dialogue) for dialogue in parts.normal]
    held_out = [d for name in ("neighbours.jsonl", "ability.jsonl") for d in list(read_dialogues(demo.path(name)))[::8]]
    unseen = [lm.format.encode(dialogue) for dialogue in held_out]
    watch = Watch(
        lambda: remembered(lm, rows) <= options.until,
        lambda: moved(original, lm, unseen) <= options.keep,
        options.seconds if options.trainer == "textbook" else None,
    )
    with tempfile.TemporaryDirectory() as folder:
        if options.trainer == "ours":
            transformers.trainer.DEFAULT_CALLBACKS.append(watch)
            unlearn(
                lm,
                parts,
                Path(folder),
                judges=[load_judge(n) for n in JUDGES],
                config=replace(CONFIG, seed=options.seed),
            )
        else:
            how = arguments(Path(folder), BATCH, 100_000, options.rate, options.seed)
            textbook(lm, rows, ordinary, how, watch)
    watch.pause()
    at_end = {"end": watch.seconds, "probability": remembered(lm, rows), "moved": moved(original, lm, unseen)}
    print(json.dumps(watch.reached | at_end))


def textbook(
    lm: LanguageModel, rows: list[Encoded], ordinary: list[Encoded], how: TrainingArguments, watch: Watch
) -> None:
    pairs: list[Pair] = [
        ((row.prompt + row.response, len(row.prompt)), (other.prompt + other.response, len(other.prompt)))
        for row, other in zip(rows * 1000, ordinary * 1000, strict=False)
    ]
    TextbookNPO(model=lm.model, args=how, train_dataset=pairs, callbacks=[watch]).train()


def with_any_expected(parts: Split) -> Split:
    """An expected output that shares nothing: all tokens in the judges' spans are at fault, for both trainers."""
    forget = [replace(item, dialogue=replace(item.dialogue, expected=("?",))) for item in parts.forget]
    return replace(parts, forget=tuple(forget))


CONFIG = UnlearnConfig.of("paper", forget_rows=BATCH, normal_rows=BATCH, learning_rate=6e-4)

if __name__ == "__main__":
    main()
