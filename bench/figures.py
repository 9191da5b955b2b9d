"""The main job's figures, each with its spread over seeds: the town, and any further recipes; writes docs/figures.md.

python bench/figures.py [RECIPE …] [--seeds 5] [--out build/figures]
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

from runs import machine, measured, spread

from expunge.demo import RECIPE
from expunge.recipe import read_recipe

PAGE = Path(__file__).parent.parent / "docs" / "figures.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipes", type=Path, nargs="*")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("build/figures"))
    options = parser.parse_args()
    sections = []
    for path in (RECIPE, *options.recipes):
        name = "The town (`expunge demo`)" if path == RECIPE else f"`{path}`"
        found = [_measured(path, options.out, seed) for seed in range(options.seeds)]
        sections.append(f"## {name}\n{_table(found)}")
    head = HEAD.format(seeds=options.seeds, machine=machine())
    PAGE.write_text("\n".join([head, *sections]), encoding="utf-8")


def _measured(path: Path, out: Path, seed: int) -> dict[str, float]:
    folder = out / f"{path.stem}-{seed}"
    cached = folder.with_suffix(".json")
    if not cached.exists():
        found = measured(read_recipe(path), folder, seed=seed)
        cached.write_text(json.dumps(found))
        print(path.stem, seed, json.dumps(found, indent=1), flush=True)
    found = json.loads(cached.read_text())
    return dict(found)


def _table(found: list[dict[str, float]]) -> str:
    lines = ["| figure | before | after | worst upper bound | oracle |", "|---|---|---|---|---|"]
    for key in found[0]:
        if ":" in key:
            continue
        after = spread([f[key] for f in found], 1 if key in ("seconds", "unlearning") else 3)
        cells = [_median(found, f"{key}:before"), after, _most(found, f"{key}:high"), _median(found, f"{key}:oracle")]
        lines.append(f"| {key} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _median(found: list[dict[str, float]], key: str) -> str:
    return f"{statistics.median(f[key] for f in found):.3f}" if key in found[0] else ""


def _most(found: list[dict[str, float]], key: str) -> str:
    return f"{max(f[key] for f in found):.3f}" if key in found[0] else ""


HEAD = """# Figures
Written by `make figures`: whole runs, median of {seeds} seeds (minimum–maximum). Shares and probabilities; `seconds` is
the whole run, `unlearning` its training with loading and judging. *Worst upper bound* is the highest of the seeds' 95 %
bounds. Machine: {machine}.
"""

if __name__ == "__main__":
    main()
