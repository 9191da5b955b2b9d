"""A real pretrained model on real rows: `examples/tofu800.toml` with several seeds; writes docs/tofu800.md.

    TOFU=… MODELS=… python bench/real.py [--seeds 3] [--out build/real]
    TOFU: a folder of TOFU's JSON Lines files; MODELS: one with the model and its oracle, as in the recipe

The whole recipe is run, but for the greedy answers to all 760 kept rows: these are measured here, by probability on all
of them and by ROUGE-L on every tenth.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
from pathlib import Path

from runs import machine, measured, spread

from expunge.audit.rouge import rouge_recall
from expunge.dialogue import Dialogue, read_dialogues
from expunge.generation import answer_length, greedy, mean_probability, token_log_probs
from expunge.model import LanguageModel, load_model
from expunge.recipe import read_recipe

HERE = Path(__file__).parent
RECIPE = HERE.parent / "examples" / "tofu800.toml"
PAGE = HERE.parent / "docs" / "tofu800.md"
MEASURES = ("forget probability", "forget ROUGE-L recall", "retain probability", "retain ROUGE-L recall")
OF_RUN = {
    "flagged_trained": ("flagged (the old answer comes back), greedy", 3),
    "leak16_trained": ("leak in any of 16 samples", 3),
    "leak16_trained:high": ("… its 95 % upper bound", 3),
    "steps": ("steps", 0),
    "unlearning": ("seconds of unlearning", 0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("build/real"))
    options = parser.parse_args()
    recipe = dataclasses.replace(read_recipe(RECIPE), ability=())
    forget, kept = (list(read_dialogues(names[0])) for names in (recipe.dialogues, recipe.normal))
    before, oracle = (of(load_model(name, template="plain"), forget, kept) for name in (recipe.model, recipe.oracle))
    found = []
    for seed in range(options.seeds):
        folder = options.out / f"seed-{seed}"
        run = measured(recipe, folder, seed=seed)
        found.append(run | of(load_model(folder / "model"), forget, kept))
        print(seed, json.dumps({key: found[-1][key] for key in (*MEASURES, *OF_RUN)}), flush=True)
    lines = ["| figure | before | after | oracle |", "|---|---|---|---|"]
    for key in MEASURES:
        lines.append(f"| {key} | {before[key]:.3f} | {spread([f[key] for f in found])} | {oracle[key]:.3f} |")
    kept_share = [f["retain probability"] / before["retain probability"] for f in found]
    lines.append(f"| retain probability, of before | | {spread(kept_share)} | |")
    for key, (name, digits) in OF_RUN.items():
        start = f"{found[0][f'{key}:before']:.3f}" if f"{key}:before" in found[0] else ""
        lines.append(f"| {name} | {start} | {spread([f[key] for f in found], digits)} | |")
    size = sum(p.numel() for p in load_model(recipe.model).model.parameters()) / 1e6
    letters = statistics.median(len(d.response or "") for d in forget)
    head = HEAD.format(seeds=options.seeds, size=size, machine=machine(), letters=round(letters))
    PAGE.write_text("\n".join([head, *lines, ""]), encoding="utf-8")


def of(lm: LanguageModel, forget: list[Dialogue], kept: list[Dialogue]) -> dict[str, float]:
    """The measures of one model."""
    found = {}
    for name, rows, asked in (("forget", forget, forget), ("retain", kept, kept[::10])):
        probabilities = [mean_probability(p) for p in token_log_probs(lm, [lm.format.encode(d) for d in rows])]
        answers = greedy(lm, asked, max_new_tokens=answer_length(lm, [d.response or "" for d in asked]))
        recalled = [rouge_recall(said, d.response or "") for said, d in zip(answers, asked, strict=True)]
        found[f"{name} probability"] = statistics.fmean(probabilities)
        found[f"{name} ROUGE-L recall"] = statistics.fmean(recalled)
    return found


HEAD = """# A real pretrained model: 40 answers of TOFU
Written by `bench/real.py`, which runs `examples/tofu800.toml`: a pretrained model ({size:.2f} M parameters) that was
fine-tuned on 800 answers of TOFU (arXiv 2401.06121) forgets the 40 of forget01, some {letters} letters each, and keeps
the other 760. Median of {seeds} seeds (least–most). Probability is exp(mean log p) over response tokens, end token
included; ROUGE-L recall is that of greedy answers, to the 40 and to every tenth of the 760. None of the 40 was seen
by the oracle. Machine: {machine}.
"""

if __name__ == "__main__":
    main()
