"""Runs of a recipe under changed settings: one place for the benchmarks that train more than once."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import shutil
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from expunge.pipeline import run
from expunge.planning.machine import machine_of
from expunge.recipe import Recipe


def measured(recipe: Recipe, folder: Path, *, seed: int, **config: Any) -> dict[str, float]:
    """Run a recipe with a seed and changed unlearning settings; its figures by key, times in seconds among them."""
    shutil.rmtree(folder, ignore_errors=True)
    settings = dataclasses.replace(recipe.config, seed=seed, **config)
    start = time.monotonic()
    audit = run(dataclasses.replace(recipe, seed=seed, config=settings), folder)
    seconds = time.monotonic() - start
    steps = json.loads((folder / "manifest.json").read_text())["steps"]
    figures = {"seconds": seconds, "unlearning": steps["unlearn"]["seconds"], "steps": steps["unlearn"]["steps"]}
    for measure in audit.measures:
        figures[measure.key] = measure.after.value
        figures[f"{measure.key}:high"] = measure.after.high
        if measure.before:
            figures[f"{measure.key}:before"] = measure.before.value
        if measure.oracle:
            figures[f"{measure.key}:oracle"] = measure.oracle.value
    return figures


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Median, and minimum to maximum: "0.012 (0.010–0.015)"."""
    low, middle, high = (f"{v:.{digits}f}" for v in (min(values), statistics.median(values), max(values)))
    return middle if low == high else f"{middle} ({low}–{high})"


def machine() -> str:
    """What this runs on, with its rate for large matrices: a yardstick for seconds measured elsewhere."""
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    name = names[0].split(":")[1].strip() if names else platform.processor() or platform.machine()
    rate, threads = machine_of(None).single / 1e9, torch.get_num_threads()
    return f"{name}, {os.cpu_count()} cores, {threads} thread(s), {rate:.0f} GFLOP/s; torch {torch.__version__}"
