"""Runs of a recipe under changed settings: one place for the benchmarks that train more than once."""

from __future__ import annotations

import dataclasses
import json
import shutil
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from expunge.pipeline import run
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
