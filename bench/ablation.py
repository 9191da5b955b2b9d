"""What is each term of the loss worth? The town, every term alone and every term left out; writes docs/ablation.md.

    python bench/ablation.py [--seeds 3] [--out build/ablation]

All variants run under one budget of steps, with the judge in the loop switched on as by default; "normal" is outputs
and hidden states together. What relearning brings back is asked as in bench/relearning.py, at the audit's rate.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from relearning import relearned
from runs import machine, measured, spread

from expunge.audit.relearning import default_rate
from expunge.demo import RECIPE
from expunge.model import load_model
from expunge.recipe import Recipe, read_recipe
from expunge.selection import read_forget

VARIANTS: dict[str, dict[str, float]] = {
    "all": {},
    "without negative": {"negative_weight": 0.0},
    "without positive": {"positive_weight": 0.0},
    "without normal": {"normal_weight": 0.0, "hidden_weight": 0.0},
    "without outputs": {"normal_weight": 0.0},
    "without hidden": {"hidden_weight": 0.0},
    "without noise": {"noise": 0.0},
    "without adversary": {"adversary": 0.0},
    "negative alone": {"positive_weight": 0.0, "normal_weight": 0.0, "hidden_weight": 0.0},
    "positive alone": {"negative_weight": 0.0, "normal_weight": 0.0, "hidden_weight": 0.0},
}
BUDGET = 300
COLUMNS = {
    "flagged_trained": "flagged, trained",
    "flagged_unseen": "flagged, unseen",
    "fault_probability": "p(at fault)",
    "old_probability": "p(old answer)",
    "relearned": "p(at fault), relearned",
    "ability": "ability",
    "neighbours": "neighbours",
    "fluency_perplexity": "perplexity ratio",
    "loops": "empty or looping",
    "steps": "steps",
}
PAGE = Path(__file__).parent.parent / "docs" / "ablation.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("build/ablation"))
    options = parser.parse_args()
    recipe = dataclasses.replace(read_recipe(RECIPE), audit_samples=0, oracle=None)
    rows: dict[str, list[dict[str, float]]] = {}
    for name, config in VARIANTS.items():
        for seed in range(options.seeds):
            folder = options.out / f"{name.replace(' ', '-')}-{seed}"
            cached = folder.with_suffix(".json")
            if not cached.exists():
                cached.write_text(json.dumps(_measured(recipe, folder, seed, config)))
            rows.setdefault(name, []).append(_with_ability(json.loads(cached.read_text())))
            print(name, seed, {k: round(rows[name][-1][k], 3) for k in COLUMNS}, flush=True)
    PAGE.write_text(_page(rows, options.seeds), encoding="utf-8")


def _measured(recipe: Recipe, folder: Path, seed: int, config: dict[str, float]) -> dict[str, float]:
    found = measured(recipe, folder, seed=seed, max_steps=BUDGET, **config)
    forget = [item for item in read_forget(folder / "verdicts.jsonl") if item.flagged]
    lm = load_model(str(folder / "model"))
    return found | {"relearned": relearned(lm, forget, default_rate(lm), seed)[-1]}


def _with_ability(found: dict[str, float]) -> dict[str, float]:
    skills = [v for k, v in found.items() if k.startswith("ability_") and ":" not in k]
    return found | {"ability": sum(skills) / len(skills)}


def _page(rows: dict[str, list[dict[str, float]]], seeds: int) -> str:
    head = "| terms | " + " | ".join(COLUMNS.values()) + " |\n|---|" + "---|" * len(COLUMNS)
    lines = [
        f"| {name} | " + " | ".join(spread([f[k] for f in found], 0 if k == "steps" else 3) for k in COLUMNS) + " |"
        for name, found in rows.items()
    ]
    before = rows["all"][0]
    return TEXT.format(
        seeds=seeds,
        budget=BUDGET,
        table="\n".join([head, *lines]),
        trained=before["flagged_trained:before"],
        unseen=before["flagged_unseen:before"],
        fault=before["fault_probability:before"],
        neighbours=before["neighbours:before"],
        machine=machine(),
    )


TEXT = """# What each term is worth
Written by `make ablation`. The town, every term of the loss alone and every term left out; median of {seeds} seeds
(minimum–maximum), the judge in the loop, at most {budget} steps, greedy answers. *Normal* is outputs and hidden
states together; *noise* that on the embeddings; the *adversary* relearns before every second step.
Machine: {machine}.

Before unlearning: flagged {trained:.3f} (trained phrasing), {unseen:.3f} (unseen); p(at fault) {fault:.3f};
neighbours {neighbours:.3f} right. *Ability* is the mean over the skills of exactly right answers; *p(at fault)* the
probability of the tokens at fault under teacher forcing, *relearned* after 30 steps of fine-tuning on the other half
of the forgotten dialogues; *perplexity ratio* that of the answers over that of the expected outputs, both under the
original model.

{table}
"""

if __name__ == "__main__":
    main()
