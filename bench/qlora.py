"""LoRA on the town's base as it is, and on the base in 4 bits (QLoRA): what is left, what is kept. Prints a table.

    python bench/qlora.py [--seeds 3] [--rank 8] [--out build/qlora]

An adapter trained on the rounded base is audited on the base as it is, as Expunge does, and on the rounded one too.
Needs `pip install 'expunge[lora,quantization]'`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path

from runs import machine, spread

from expunge.audit.audit import audit
from expunge.audit.reading import Sets
from expunge.comparison.ground import Ground
from expunge.demo import RECIPE
from expunge.model import LanguageModel, load_model
from expunge.questions import audit_sets
from expunge.recipe import read_recipe
from expunge.training.config import UnlearnConfig
from expunge.training.unlearn import unlearn

COLUMNS = {0: "LoRA", 4: "QLoRA, on the base as it is", -4: "QLoRA, on the base in 4 bits"}
ROWS = {
    "fault_probability": "probability of tokens at fault",
    "flagged_trained": "flagged, trained phrasing",
    "flagged_unseen": "flagged, unseen phrasing",
    "ability": "ordinary dialogues answered right",
    "neighbours": "neighbours answered right",
    "steps": "steps to the end",
    "step": "seconds a step, judging included",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path("build/qlora"))
    options = parser.parse_args()
    recipe = dataclasses.replace(read_recipe(RECIPE), oracle=None)
    ground = Ground.of(recipe, options.out / "ground")
    sets = audit_sets(dataclasses.replace(recipe, holdout=(), lookalikes=()), ground.parts.forget, ground.judges)
    original = load_model(recipe.model)
    found: dict[int, list[dict[str, float]]] = {column: [] for column in COLUMNS}
    for seed in range(options.seeds):
        for bits in (0, 4):
            kept = options.out / f"rank{options.rank}-{bits}-{seed}.json"
            if not kept.exists():
                config = UnlearnConfig.of(lora_rank=options.rank, base_bits=bits, seed=seed)
                kept.write_text(json.dumps(_trained(ground, sets, original, config, kept.with_suffix(""))))
            for column, figures in json.loads(kept.read_text()).items():
                found[int(column)].append(figures)
                print(seed, COLUMNS[int(column)], {k: round(v, 4) for k, v in figures.items()}, flush=True)
    print(f"\n{machine()}; median of {options.seeds} seeds (least–most), rank {options.rank}\n")
    print(f"| | {' | '.join(COLUMNS.values())} |\n|---|" + "---|" * len(COLUMNS))
    for key, title in ROWS.items():
        digits = {"steps": 0, "step": 2}.get(key, 3)
        print(f"| {title} | {' | '.join(spread([f[key] for f in found[c]], digits) for c in COLUMNS)} |")


def _trained(
    ground: Ground, sets: Sets, original: LanguageModel, config: UnlearnConfig, folder: Path
) -> dict[int, dict[str, float]]:
    """Figures of one training, by column."""
    lm = load_model(ground.recipe.model, bits=config.base_bits)
    start = time.monotonic()
    result = unlearn(lm, ground.parts, folder, judges=ground.judges, config=config)
    cost = {"steps": result.steps, "step": (time.monotonic() - start) / max(1, result.steps)}
    models = {config.base_bits: load_model(result.path)} | ({-4: lm} if config.base_bits else {})
    return {column: _figures(model, sets, original, ground) | cost for column, model in models.items()}


def _figures(lm: LanguageModel, sets: Sets, original: LanguageModel, ground: Ground) -> dict[str, float]:
    measures = audit(lm, original, sets, ground.judges, samples=0).measures
    figures = {measure.key: measure.after.value for measure in measures}
    skills = {m.key: (m.after.value, m.after.count) for m in measures if m.key.startswith("ability_")}
    ability = sum(value * n for value, n in skills.values()) / sum(n for _, n in skills.values())
    return {key: figures[key] for key in ROWS if key in figures} | {"ability": ability}


if __name__ == "__main__":
    main()
