"""Peak memory of unlearning as `expunge plan` foretells it, against what is measured: small random models on the CPU.

    python bench/planning.py [--quick]

Each shape is unlearned for three steps, the second of them an adversary's, in a fresh process, judging and saving
included, by the trainer as it is. Measured is the sum of all tensors in memory at each moment, to the byte, as
PyTorch's profiler notes each piece that is asked for and given back. The process's resident size is not taken: it
holds the libraries (half a GiB) and what the allocator keeps for later. Shapes marked bf16 run in mixed precision as
on a GPU, but on the CPU. Seconds are of the third step's forward and backward pass alone, foretold from the rate of a
product of matrices a moment before: an order of magnitude, since other work may run beside.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SHAPES = [
    # in the order of NAMES; `asked` and `said` in letters, each a token or two
    ("llama", 256, 688, 4, 4, 4, 8_192, False, 4, 8, 60, 60, 0, {}),
    ("llama", 256, 688, 4, 4, 4, 8_192, False, 4, 8, 60, 60, 8, {}),
    ("llama", 256, 688, 8, 8, 2, 32_000, True, 2, 4, 20, 30, 0, {}),
    ("llama", 256, 688, 8, 8, 2, 32_000, True, 2, 4, 20, 30, 8, {}),
    ("llama", 384, 1024, 6, 6, 2, 16_384, True, 6, 12, 90, 15, 0, {}),
    ("llama", 512, 1376, 4, 8, 8, 64_000, True, 2, 4, 40, 20, 0, {}),
    ("llama", 512, 1376, 4, 8, 8, 64_000, True, 2, 4, 40, 20, 16, {}),
    ("llama", 512, 1376, 8, 8, 4, 8_192, False, 3, 6, 100, 20, 0, {}),
    ("llama", 512, 1376, 8, 8, 4, 8_192, False, 3, 6, 100, 20, 8, {}),
    ("llama", 512, 1376, 8, 8, 4, 8_192, False, 2, 4, 12, 12, 0, {}),
    ("llama", 512, 1376, 8, 8, 4, 8_192, False, 6, 12, 100, 20, 0, {"checkpointing": True}),
    ("llama", 512, 1376, 8, 8, 4, 8_192, False, 6, 12, 100, 20, 8, {"checkpointing": True}),
    ("llama", 384, 1024, 6, 6, 2, 16_384, True, 8, 16, 60, 30, 0, {"checkpointing": True}),
    ("llama", 384, 1024, 6, 6, 2, 16_384, True, 8, 16, 60, 30, 0, {"accumulation": 2}),
    ("llama", 512, 1376, 4, 8, 8, 32_000, False, 4, 8, 40, 40, 0, {"kept": False}),
    ("llama", 512, 1376, 4, 8, 8, 32_000, False, 4, 8, 40, 40, 8, {"kept": False}),
    ("qwen3", 256, 768, 4, 4, 2, 16_384, True, 4, 8, 60, 30, 0, {}),
    ("gpt2", 256, 1024, 4, 4, 4, 16_384, True, 4, 8, 60, 30, 0, {}),
    ("gpt_neox", 256, 1024, 4, 4, 4, 16_384, False, 4, 8, 60, 30, 0, {}),
    ("llama", 256, 688, 4, 4, 4, 8_192, False, 6, 8, 60, 60, 0, {"method": "idk_dpo"}),
    ("llama", 256, 688, 4, 4, 4, 8_192, False, 8, 8, 60, 60, 0, {"method": "flat"}),
    ("llama", 256, 688, 4, 4, 4, 8_192, False, 16, 4, 60, 60, 0, {"checkpointing": True, "accumulation": 4}),
    ("bf16 llama", 512, 1376, 6, 8, 4, 8_192, False, 4, 8, 60, 30, 0, {}),
    ("bf16 llama", 512, 1376, 6, 8, 4, 8_192, False, 4, 8, 60, 30, 8, {}),
]
NAMES = (
    "kind", "hidden", "inner", "layers", "heads", "keys", "vocabulary", "tied", "forget", "normal", "asked", "said",
    "rank", "more",
)  # fmt: skip
MIB = 2**20


def config_of(shape: dict[str, Any], end: int) -> Any:
    """A configuration of transformers in this shape."""
    from transformers import GPT2Config, GPTNeoXConfig, LlamaConfig, Qwen3Config

    same = {
        "vocab_size": shape["vocabulary"],
        "tie_word_embeddings": shape["tied"],
        "bos_token_id": None,
        "eos_token_id": end,
    }
    if shape["kind"] == "gpt2":
        sizes = {"n_embd": shape["hidden"], "n_layer": shape["layers"], "n_head": shape["heads"]}
        return GPT2Config(**same, **sizes, n_positions=1024, n_inner=shape["inner"])
    sizes = {
        "hidden_size": shape["hidden"], "intermediate_size": shape["inner"], "num_hidden_layers": shape["layers"],
        "num_attention_heads": shape["heads"], "max_position_embeddings": 1024, "pad_token_id": 0,
    }  # fmt: skip
    if shape["kind"] == "gpt_neox":
        return GPTNeoXConfig(**same, **sizes)
    made = Qwen3Config if shape["kind"] == "qwen3" else LlamaConfig
    return made(**same, **sizes, num_key_value_heads=shape["keys"], head_dim=shape["hidden"] // shape["heads"])


def make(shape: dict[str, Any], folder: Path) -> None:
    """A random model of this shape with the town's tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from expunge import demo

    tokenizer = AutoTokenizer.from_pretrained(demo.path("model"))
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config_of(shape, tokenizer.eos_token_id))
    model.to(torch.bfloat16 if shape["bf16"] else torch.float32).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def split_of(shape: dict[str, Any]) -> Any:
    """Dialogues of random letters, each a token or two: lengths a quarter up or down."""
    from expunge.dialogue import Dialogue
    from expunge.judges.verdict import Judged, Verdict
    from expunge.message import Message
    from expunge.selection import Split

    rng = random.Random(0)

    def text(letters: int) -> str:
        return " ".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=round(letters * rng.uniform(0.75, 1.25))))

    def dialogue() -> Dialogue:
        words = (Message("user", text(shape["asked"])), Message("assistant", text(shape["said"])))
        return Dialogue(words, expected=(text(shape["said"]),))

    request = (Verdict("privacy", 1.0, "request", "1"),)
    forget = tuple(Judged(dialogue(), request) for _ in range(shape["forget"]))
    return Split(forget, tuple(dialogue() for _ in range(shape["normal"])))


def events(nodes: Any, names: tuple[str, ...] = ()) -> Iterator[tuple[int, int, int]]:
    """When, where and how many bytes were asked for (or, below 0, given back).

    Left out: the copies of the output layer, one for each row, that the product of bfloat16 batches makes on the CPU
    (and CUDA does not), and what gloo copies of all that it sends (and NCCL does not).
    """
    for node in nodes:
        cpu_only = names[-5:-2] == ("aten::bmm", "aten::contiguous", "aten::clone")
        if node.name == "[memory]" and not cpu_only and not any(name.startswith(("c10d::", "gloo:")) for name in names):
            yield node.start_time_ns, node.extra_fields.ptr, node.extra_fields.alloc_size
        yield from events(node.children, (*names, node.name))


def peak_bytes(noted: Any) -> int:
    """The largest sum of all tensors at a moment."""
    live: dict[int, int] = {}
    now = peak = 0
    for _, where, size in sorted(events(noted.profiler.kineto_results.experimental_event_tree())):
        now += max(size, 0) - live.pop(where, 0)
        if size > 0:
            live[where] = size
        peak = max(peak, now)
    return peak


def measure(shape: dict[str, Any]) -> dict[str, float]:
    """Unlearn for three steps; the peak, the third step's seconds, and what was foretold."""
    import time

    import torch
    from torch.profiler import ProfilerActivity, profile
    from transformers import TrainingArguments

    from expunge.model import load_model
    from expunge.planning import original
    from expunge.planning.duration import step_seconds
    from expunge.planning.machine import machine_of
    from expunge.planning.memory import Way, memory_of
    from expunge.planning.sizes import read_sizes
    from expunge.planning.workload import Workload
    from expunge.training.config import UnlearnConfig
    from expunge.training.reference import Reference
    from expunge.training.trainer import UnlearnTrainer
    from expunge.training.unlearn import unlearn

    torch.set_num_threads(1)
    begun: list[tuple[int, int]] = []
    whole = UnlearnTrainer.training_step

    def step(self: Any, *given: Any, **named: Any) -> Any:
        start = time.time_ns()
        loss = whole(self, *given, **named)
        begun.append((start, time.time_ns()))
        return loss

    UnlearnTrainer.training_step = step
    if shape["bf16"]:  # the trainer takes it on an accelerator alone
        made = TrainingArguments.__post_init__

        def mixed(self: Any) -> None:
            self.bf16 = True
            made(self)

        TrainingArguments.__post_init__ = mixed
    if not shape["more"].get("kept", True):
        Reference.__init__.__kwdefaults__["kept_bytes"] = original.KEPT_BYTES = 0
    spared = shape["more"].get("checkpointing", False)
    config = UnlearnConfig.of(
        shape["more"].get("method", "default"),
        max_steps=3, judge_every=3, settle_steps=0, forget_rows=shape["forget"], normal_rows=shape["normal"],
        lora_rank=shape["rank"], accumulation=shape["more"].get("accumulation", 1), checkpointing=spared,
    )  # fmt: skip
    machine = machine_of(None)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make(shape, folder / "model")
        parts = split_of(shape)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as noted:
            lm = load_model(folder / "model", device="cpu")
            if shape["bf16"] and shape["rank"]:
                lm.model.to(torch.bfloat16)
            rows = [lm.format.encode(d) for d in (*(j.dialogue for j in parts.forget), *parts.normal)]
            unlearn(lm, parts, folder / "out", config=config)
        sizes = read_sizes(str(folder / "model"))
    taught = [lm.format.encode(j.dialogue.answered(j.expected[0])) for j in parts.forget]
    response = round(statistics.mean(len(r.response) for r in rows))
    work = Workload(shape["forget"], shape["normal"], round(statistics.mean(len(r.prompt) for r in rows)), response)
    way = Way("lora" if shape["rank"] else "full", rank=shape["rank"], checkpointing=spared, cpu=not shape["bf16"])
    plan = memory_of(sizes, work, config, way)
    return {
        "parameters": sizes.parameters, "rows": len(rows) + len(taught), "tokens": work.row, "response": response,
        "peak": peak_bytes(noted), "planned": plan.peak,
        "seconds": sum(end - start for start, end in begun[-config.accumulation :]) / 1e9,
        "foretold": step_seconds(sizes, work, config, way, machine),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the first two shapes alone")
    parser.add_argument("--shape", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.shape:
        print(json.dumps(measure(json.loads(options.shape))))
        return
    print("| model | million parameters, h × layers, vocabulary | rows × tokens (response) | method | measured MiB "
          "| planned MiB | planned / measured | time, same |\n|---|---|---|---|---|---|---|---|")  # fmt: skip
    ratios, times = [], []
    for values in SHAPES[: 2 if options.quick else None]:
        shape = dict(zip(NAMES, values, strict=True))
        shape["bf16"] = shape["kind"].startswith("bf16 ")
        name, shape["kind"] = shape["kind"], shape["kind"].removeprefix("bf16 ")
        words = [sys.executable, __file__, "--shape", json.dumps(shape)]
        told = subprocess.run(words, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
        found = json.loads(told.splitlines()[-1])
        ratios.append(found["planned"] / found["peak"])
        times.append(found["foretold"] / found["seconds"])
        told = (
            "".join(f", {key} {value}" for key, value in shape["more"].items())
            .replace("kept False", "not kept")
            .replace("checkpointing True", "checkpointing")
            .replace("method ", "")
        )
        method = f"LoRA {shape['rank']}" if shape["rank"] else "full"
        method += told
        model = f"{found['parameters'] / 1e6:.1f}, {shape['hidden']} × {shape['layers']}, {shape['vocabulary']:,}"
        step = f"{found['rows']} × {found['tokens']} ({found['response']})"
        sizes = f"{found['peak'] / MIB:,.0f} | {found['planned'] / MIB:,.0f}"
        print(f"| {name} | {model} | {step} | {method} | {sizes} | {ratios[-1]:.3f} | {times[-1]:.2f} |", flush=True)
    for title, values in (("memory", ratios), ("time", times)):
        spread = f"{statistics.median(values):.3f} ({min(values):.3f}–{max(values):.3f})"
        print(f"\n{title}, planned / measured: median {spread}")


if __name__ == "__main__":
    main()
