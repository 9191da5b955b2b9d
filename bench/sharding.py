"""Memory of a process whose weights are shared out, against whole ones; on the CPU, by gloo.

    python bench/sharding.py

A random Llama of 39 million parameters in float32 is unlearned for three steps, the second of them an adversary's, by
one, two and four processes that share the weights out (`sharded`; one process has them whole), each with its share of a
step. Measured is the sum of all tensors at its largest, loading and judging included, saving not: see `planning.py`.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any
from unittest.mock import patch

import torch
from torch.profiler import ProfilerActivity, profile

from expunge.model import load_model
from expunge.planning.memory import Way, memory_of
from expunge.planning.sizes import read_sizes
from expunge.planning.workload import Workload
from expunge.training.config import UnlearnConfig
from expunge.training.unlearn import unlearn
from planning import NAMES, make, peak_bytes, split_of

SHAPE = dict(zip(NAMES, ("llama", 512, 1376, 12, 8, 8, 1_024, False, 12, 36, 10, 10, 0, {}), strict=True)) | {
    "bf16": False
}

WAYS = ((0, False), (0, True), (8, False), (8, True))
"""Ranks, and whether activations are computed anew."""


def config_of(rank: int, checkpointing: bool) -> UnlearnConfig:
    return UnlearnConfig(max_steps=3, judge_every=3, settle_steps=0, lora_rank=rank, checkpointing=checkpointing)


def train(place: Path, rank: int, checkpointing: bool) -> None:
    """In one process of so many as the launcher started; the first one prints what it held."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    torch.set_num_threads(1)
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    config = replace(config_of(rank, checkpointing), sharded=several)
    with (
        profile(activities=[ProfilerActivity.CPU], profile_memory=True) as noted,
        patch("expunge.training.unlearn._save", stop),
        contextlib.suppress(KeyboardInterrupt),
    ):
        lm = load_model(place / "model", device="cpu", sharded=several)
        unlearn(lm, split_of(SHAPE), Path(os.environ["BENCH_OUT"]), config=config)
    if os.environ.get("RANK", "0") == "0":
        print(json.dumps(peak_bytes(noted) / 2**20), flush=True)
    if several:
        torch.distributed.barrier()


def launch(place: Path, processes: int, rank: int, checkpointing: bool) -> float:
    command = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--master-port", "0"]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
    out = place / f"{processes}-{rank}-{checkpointing}"
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "BENCH_OUT": str(out)}
    given = [__file__, str(place), str(rank), str(int(checkpointing))]
    words = [sys.executable, *(command if processes > 1 else []), *given]
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return float(done.stdout.split()[-1])


def planned(model: Path, processes: int, rank: int, checkpointing: bool) -> float:
    lm, parts = load_model(model, device="cpu"), split_of(SHAPE)
    rows = [lm.format.encode(d) for d in (*(j.dialogue for j in parts.forget), *parts.normal)]
    prompt, response = round(fmean(len(r.prompt) for r in rows)), round(fmean(len(r.response) for r in rows))
    work = Workload(len(parts.forget), len(parts.normal), prompt, response)
    way = Way("lora" if rank else "full", rank, checkpointing, processes=processes)
    return memory_of(read_sizes(str(model)), work, config_of(rank, checkpointing), way).peak / 2**20


def main() -> None:
    if len(sys.argv) > 1:
        place, rank, checkpointing = sys.argv[1:]
        train(Path(place), int(rank), checkpointing == "1")
        return
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        make(SHAPE, place / "model")
        print("| MiB, measured (planned) | 1 | 2 | 4 processes |\n|---|---|---|---|")
        for rank, checkpointing in WAYS:
            name = f"{f'LoRA {rank}' if rank else 'full'}{', checkpointing' * checkpointing}"
            cells = []
            for count in (1, 2, 4):
                foretold = planned(place / "model", count, rank, checkpointing)
                cells.append(f"{launch(place, count, rank, checkpointing):,.0f} ({foretold:,.0f})")
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
