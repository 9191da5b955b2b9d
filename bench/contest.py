"""One measurement of `bench/speed.py`: so many steps of one trainer in a process of its own, printed as JSON.

python bench/contest.py '{"trainer": "ours", "vocabulary": 8192, …}' (the fields of `Case`)
"""

from __future__ import annotations

import copy
import json
import math
import random
import re
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from textbook import Pair, TextbookNPO, arguments
from transformers import TrainerCallback

from expunge import demo
from expunge.dialogue import Dialogue
from expunge.encoding import ChatFormat
from expunge.judges.verdict import Judged, Verdict
from expunge.message import Message
from expunge.model import LanguageModel
from expunge.selection import split
from expunge.training import trainer  # noqa: F401  # loaded before memory is counted from
from expunge.training.config import UnlearnConfig
from expunge.training.unlearn import unlearn

WARM = 2
"""Steps before the clock runs: allocators and the optimizer's moments."""


@dataclass(frozen=True)
class Case:
    """trainer: `ours`, `textbook` or `dpo`. keep: the normal term of ours. length: of a row's question and
    answer together, in tokens, on average.

    spread: σ of the logarithm of the lengths. batch: forget rows of a step, and as many normal ones (for DPO: pairs).
    """

    trainer: str
    keep: str = "kl"
    vocabulary: int = 8192
    width: int = 256
    layers: int = 4
    length: int = 64
    spread: float = 0.5
    batch: int = 16
    forget: int = 160
    normal: int = 160
    steps: int = 8
    seed: int = 0


class Clock(TrainerCallback):
    """Processor seconds of each step, from the end of the last one; and the peak of memory until the last step."""

    def __init__(self) -> None:
        CLOCKS.append(self)
        self.ends: list[float] = []
        self.start, self.peak = 0.0, 0.0

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.start = time.process_time()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.ends.append(time.process_time())
        self.peak = memory("VmHWM")
        if len(self.ends) == WARM:
            COUNTED.clear()


CLOCKS: list[Clock] = []
COUNTED: Counter[str] = Counter()


def memory(field: str) -> float:
    """Of this process, MiB: VmRSS is what it holds, VmHWM the most it has held."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else math.nan


def model_of(case: Case) -> LanguageModel:
    """A random Llama with the town's tokenizer, which leaves most of a large vocabulary to itself."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(demo.path("model"))
    torch.manual_seed(case.seed)
    config = transformers.LlamaConfig(
        vocab_size=case.vocabulary,
        hidden_size=case.width,
        intermediate_size=case.width * 8 // 3 // 16 * 16,
        num_hidden_layers=case.layers,
        num_attention_heads=case.width // 64,
        max_position_embeddings=4 * case.length,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = transformers.LlamaForCausalLM(config).eval()
    return LanguageModel("random", model, ChatFormat.of(tokenizer, None, model), torch.float32)


def dialogues(case: Case, count: int, draw: random.Random, words: list[str]) -> list[tuple[Dialogue, str]]:
    """Dialogues, each with another answer as long: a third of a row is the question. Words are single tokens."""

    def text(length: int) -> str:
        return "".join(draw.choices(words, k=length)).strip()

    found = []
    for _ in range(count):
        drawn = case.length * math.exp(draw.gauss(-(case.spread**2) / 2, case.spread))
        length = max(12, min(round(drawn), 3 * case.length) - 8)  # the chat template takes some eight
        question, answer = text(length // 3), text(length - length // 3)
        dialogue = Dialogue((Message("user", question), Message("assistant", answer)))
        found.append((dialogue, text(length - length // 3)))
    return found


def words_of(lm: LanguageModel) -> list[str]:
    tokenizer = lm.format.tokenizer
    texts = (tokenizer.decode([i]) for i in range(len(tokenizer)))
    return [text for text in texts if re.fullmatch(" [a-z]{3,}", text)]


def train(case: Case, lm: LanguageModel, folder: Path) -> None:
    draw = random.Random(case.seed)
    words = words_of(lm)
    forget = dialogues(case, case.forget, draw, words)
    normal = [dialogue for dialogue, _ in dialogues(case, case.normal, draw, words)]
    if case.trainer == "ours":
        verdict = (Verdict("harmful", 1.0, "bench", "1"),)
        parts = split([Judged(replace(d, expected=(other,)), verdict) for d, other in forget], normal)
        settings = {"max_steps": case.steps, "judge_every": case.steps, "settle_steps": 0, "learning_rate": 1e-5}
        config = UnlearnConfig.of(
            "npo", terms=("npo", case.keep), forget_rows=case.batch, normal_rows=case.batch, **settings
        )
        unlearn(lm, parts, folder, config=config)
    elif case.trainer == "textbook":
        rows = [(lm.format.encode(a), lm.format.encode(b)) for (a, _), b in zip(forget, normal, strict=False)]
        pairs: list[Pair] = [tuple((row.prompt + row.response, len(row.prompt)) for row in pair) for pair in rows]
        TextbookNPO(model=lm.model, args=arguments(folder, case.batch, case.steps), train_dataset=pairs).train()
    else:
        dpo(case, lm, forget, folder)


def dpo(case: Case, lm: LanguageModel, pairs: list[tuple[Dialogue, str]], folder: Path) -> None:
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    def said(text: str | None) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": text or ""}]

    rows = [
        {
            "prompt": [{"role": "user", "content": d.messages[0].content}],
            "chosen": said(other),
            "rejected": said(d.response),
        }
        for d, other in pairs
    ]
    options = arguments(folder, case.batch, case.steps).to_dict()
    kept = ("per_device_train_batch_size", "max_steps", "learning_rate", "output_dir", "use_cpu", "save_strategy")
    config = DPOConfig(
        **{name: options[name] for name in kept}, max_length=None, report_to=[], disable_tqdm=True, bf16=False,
        gradient_checkpointing=False, logging_strategy="no", dataset_num_proc=None,
    )  # fmt: skip
    reference = copy.deepcopy(lm.model)
    DPOTrainer(
        model=lm.model,
        ref_model=reference,
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=lm.format.tokenizer,
    ).train()


def main() -> None:
    case = Case(**json.loads(sys.argv[1]))
    torch.set_num_threads(1)
    transformers.trainer.DEFAULT_CALLBACKS.append(Clock)
    lm = model_of(case)

    def count(module: torch.nn.Module, _: Any, output: torch.Tensor) -> None:
        COUNTED["head" if isinstance(module, torch.nn.Linear) else "body"] += output.shape[:-1].numel()

    lm.model.model.norm.register_forward_hook(count)
    lm.model.lm_head.register_forward_hook(count)
    if case.trainer == "dpo":
        import trl  # noqa: F401
    held, begin = memory("VmRSS"), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        train(case, lm, Path(folder))
    clock = CLOCKS[-1]
    steps = [b - a for a, b in zip(clock.ends[WARM - 1 :], clock.ends[WARM:], strict=False)]
    print(
        json.dumps(
            {
                "steps": steps,
                "setup": clock.start - begin,
                "memory": clock.peak - held,
                "body": COUNTED["body"] / len(steps),
                "head": COUNTED["head"] / len(steps),
            }
        )
    )


if __name__ == "__main__":
    main()
