"""The unlearning step beside a textbook NPO with KL and TRL's DPO: time, memory and growth; writes docs/benchmarks.md.

make bench (half an hour on two cores; needs `pip install 'expunge[bench]'`)

Every measurement is a process of its own with one thread; those to be compared take turns, and a ratio is one of a
turn. Seconds are the processor's, so that other work on the machine matters little.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import transformers
from runs import machine, spread

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
STEP = {"batch": 8, "spread": 0.25, "steps": 12}
SMALL = {"width": 128, "layers": 2, "batch": 4, "spread": 0.25, "steps": 5}
LARGE = {"width": 128, "layers": 2, "batch": 2, "spread": 0.0, "vocabulary": 131_072, "length": 512, "steps": 3}
FEW = {"forget": 16, "normal": 16}
NAMES = {"ours": "Expunge, `npo` with `kl`", "textbook": "textbook NPO with KL", "dpo": "TRL, DPO"}
TOP = {"top": "Expunge, `npo` with `kl_top`"}
RATES = ("1e-4", "2e-4", "5e-4")
"""Learning rates of the textbook, from a careful one to the one that forgets fastest."""

PATIENCE = 5.5
"""Times our seconds that the textbook may take to forget and keep."""

Found = dict[str, Any]


def child(script: str, *arguments: str) -> Found:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, str(HERE / script), *arguments]
    told = subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout
    found: Found = json.loads(told.strip().split("\n")[-1])
    print(arguments, {k: v for k, v in found.items() if k != "steps"}, flush=True)
    return found


def contest(trainer: str, case: dict[str, Any]) -> Found:
    found = child("contest.py", json.dumps({"trainer": trainer, **case}))
    return found | {"step": statistics.median(found["steps"])}


def ratios(found: dict[str, list[Found]], trainer: str, key: str) -> str:
    """Ours over another's, turn by turn."""
    return spread([a[key] / b[key] for a, b in zip(found["ours"], found[trainer], strict=True)], 2)


def step_table(turns: int) -> list[str]:
    found: dict[str, list[Found]] = {name: [] for name in NAMES}
    for _ in range(turns):
        for name in NAMES:
            found[name].append(contest(name, STEP))
    lines = [
        "| trainer | seconds a step | tokens through the layers a step | peak memory above the model, MiB |",
        "|---|---|---|---|",
    ]
    for name, runs in found.items():
        seconds, body, peak = (
            spread([run[key] for run in runs], d) for key, d in (("step", 3), ("body", 0), ("memory", 0))
        )
        lines.append(f"| {NAMES[name]} | {seconds} | {body} | {peak} |")
    lines += ["", "| Expunge over | step | memory |", "|---|---|---|"]
    lines += [
        f"| {NAMES[n]} | {ratios(found, n, 'step')} | {ratios(found, n, 'memory')} |" for n in ("textbook", "dpo")
    ]
    return lines


def large(turns: int) -> list[str]:
    found: dict[str, list[Found]] = {"ours": [], "top": [], "textbook": []}
    for _ in range(turns):
        for name, runs in found.items():
            trainer, keep = ("ours", "kl_top") if name == "top" else (name, "kl")
            runs.append(contest(trainer, LARGE | FEW | {"keep": keep}))
    lines = ["| trainer | seconds a step | peak memory above the model, MiB |", "|---|---|---|"]
    for name, runs in found.items():
        seconds, peak = (spread([run[key] for run in runs], d) for key, d in (("step", 3), ("memory", 0)))
        lines.append(f"| {(NAMES | TOP)[name]} | {seconds} | {peak} |")
    for name, other in (("Expunge over textbook", "textbook"), ("Expunge, `kl` over `kl_top`", "top")):
        lines.append(f"| {name} | {ratios(found, other, 'step')} | {ratios(found, other, 'memory')} |")
    return lines


def sweep(what: str, cases: list[dict[str, Any]]) -> list[str]:
    lines = [f"| {what} | Expunge, s | textbook, s | ratio | Expunge, MiB | textbook, MiB | ratio |", "|---" * 7 + "|"]
    for case in cases:
        ours, other = contest("ours", case), contest("textbook", case)
        cells = [f"{case[what]:,}"]
        for key, digits in (("step", 3), ("memory", 0)):
            cells += [f"{ours[key]:,.{digits}f}", f"{other[key]:,.{digits}f}", f"{ours[key] / other[key]:.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def growth(turns: int) -> list[str]:
    sizes = (40, 400, 4000)
    found: dict[int, list[Found]] = {size: [] for size in sizes}
    for _ in range(turns):
        for size in sizes:
            found[size].append(contest("ours", SMALL | {"forget": size, "normal": 160, "spread": 0.0, "steps": 22}))
    lines = ["| forget rows | seconds a step | over 40 rows | set-up, s |", "|---|---|---|---|"]
    for size, runs in found.items():
        over = spread([a["step"] / b["step"] for a, b in zip(runs, found[40], strict=True)], 2)
        seconds, setup = (spread([run[key] for run in runs], 3) for key in ("step", "setup"))
        lines.append(f"| {size:,} | {seconds} | {over} | {setup} |")
    return lines


def forgetting(seeds: int) -> list[str]:
    """The textbook's patience is measured by what Expunge took with the same seed."""
    runs: dict[str, list[Found]] = {"Expunge, `paper`": [], **{f"textbook, learning rate {rate}": [] for rate in RATES}}
    ours, *others = runs.values()
    for seed in map(str, range(seeds)):
        ours.append(child("forgetting.py", "ours", "--seed", seed))
        limit = f"{PATIENCE * end(ours[-1]):.0f}"
        for rate, found in zip(RATES, others, strict=True):
            found.append(child("forgetting.py", "textbook", "--seed", seed, "--rate", rate, "--seconds", limit))
    heads = ("trainer", "forgotten after, s", "and kept, s", "at its end: s", "probability", "KL, held out")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, found in runs.items():
        cells = [reached(found, "forgotten"), reached(found, "both")]
        cells += [spread([run[key] for run in found], d) for key, d in (("end", 1), ("probability", 4), ("moved", 4))]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "| Expunge over | forgotten | forgotten and kept |", "|---|---|---|"]
    for name, found in list(runs.items())[1:]:
        lines.append(f"| {name} | {over(ours, found, 'forgotten')} | {over(ours, found, 'both')} |")
    return lines


def reached(found: list[Found], key: str) -> str:
    """When; and of how many runs, where not of all."""
    there = [run[key] for run in found if key in run]
    if not there:
        return "not"
    return spread(there, 1) + ("" if len(there) == len(found) else f" in {len(there)} of {len(found)}")


def over(ours: list[Found], others: list[Found], key: str) -> str:
    """Ours over another's time, seed by seed; a bound where that was stopped before it came so far."""
    if any(key not in run for run in ours):
        return "not reached"
    bound = "" if all(key in run for run in others) else "at most "
    return bound + spread([a[key] / end(b, key) for a, b in zip(ours, others, strict=True)], 2)


def end(run: Found, key: str = "both") -> float:
    """Seconds until it came so far, or was stopped."""
    seconds: float = run[key] if key in run else run["end"]
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    tables = {
        "step": step_table(options.turns),
        "large": large(options.turns),
        "growth": growth(5),
        "vocabulary": sweep("vocabulary", [SMALL | FEW | {"vocabulary": v} for v in (2048, 8192, 32_768, 131_072)]),
        "length": sweep("length", [SMALL | FEW | {"batch": 2, "length": n} for n in (64, 256, 1024, 2048)]),
        "forgetting": forgetting(options.turns),
    }
    text = {name: "\n".join(lines) for name, lines in tables.items()}
    here = f"{machine()}, transformers {transformers.__version__}; load {os.getloadavg()[0]:.1f} at the end"
    PAGE.write_text(TEXT.format(machine=here, turns=options.turns, **text), encoding="utf-8")


TEXT = """# Benchmarks
Written by `make bench`. Median of {turns} turns (growth: 5; least–most), where there are several.
{machine}. One thread,
processor seconds. Model: a random Llama, width 256, 4 layers, 8,192 words, tied. Rows: random words, 64 tokens on
average, a third of them the question; lengths as uneven as TOFU's (a batch of eight is padded by two fifths). All
trainers: AdamW, float32, the same dialogues, 8 forget rows and 8 others a step. Expunge trains its default weights (all
matrices but the embeddings), the others all of them. Peak memory: of the process, less what it held before the trainer
was built.

## A step
{step}

Where it comes from: rows are packed side by side instead of padded, the original is run once before training and not at
every step, only response tokens go through the output layer, which is not trained, and their logits are made and let
go in chunks. The set-up that this takes is below, and in no figure above.

## A vocabulary of 131,072 and 512 tokens
Width 128, 2 layers, 2 + 2 rows, all of the same length: nothing here is saved by packing. `kl_top` keeps the original's
64 likeliest tokens and does not ask its output layer at a step.

{large}

## Growth
Width 128, 2 layers, 4 + 4 rows, in the first table all of the same length. Set-up is from a loaded model to the first
step, encoding and the original included.

{growth}

{vocabulary}

With 2 + 2 rows:

{length}

## Until it has forgotten
The town, 24 dialogues that `privacy` and `facts` flag, 12 + 12 rows a step. *Forgotten*: the tokens at fault have a
probability of 1 % on average. *Kept*: besides, KL to the original is at most 0.003 nats a token on held-out neighbours
and abilities. Expunge goes on to its own end, where it has also taught the expected outputs and its judges flag
nothing; the textbook is stopped when it has done both, or after 5.5 times as long as Expunge took for both. Set-up and
judging are in it, for Expunge alone. {turns} seeds.

{forgetting}
"""

if __name__ == "__main__":
    main()
