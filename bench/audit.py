"""What an audit costs: seconds of each probe on the town, and of one shared pass against a pass for each measure.

    python bench/audit.py [--models FOLDER --tofu FOLDER]
    FOLDERs with the tofu800 models and TOFU's JSON Lines files add the suite of likelihoods on forget01

The town is audited untouched, against itself and its oracle: how long that takes does not depend on what was forgotten.
The holdout rows are the forgotten ones with other digits.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from expunge.audit.audit import audit
from expunge.audit.names import PROBES
from expunge.audit.probes import Case, run_probes
from expunge.audit.reading import Sets, read
from expunge.audit.scores import Scores
from expunge.demo import RECIPE
from expunge.dialogue import Dialogue, read_dialogues
from expunge.expected import with_expected
from expunge.generation import token_scores
from expunge.judges.names import load_judge
from expunge.judges.panel import judge_all
from expunge.judges.verdict import Judge
from expunge.model import LanguageModel, limit_threads, load_model
from expunge.questions import audit_sets
from expunge.recipe import read_recipe
from expunge.selection import read_forget

MEASURES = 9
"""Measures of one row's likelihood: two probabilities, exact memorization, extraction strength, truth ratio, and the
attacks of membership. A pass for each is what this audit does not do."""


def town() -> tuple[Sets, list[Judge]]:
    recipe = read_recipe(RECIPE)
    judges = [load_judge(spec) for spec in recipe.judges]
    judged = judge_all(judges, [d for name in recipe.dialogues for d in read_dialogues(name)])
    forget = with_expected(load_model("town"), [item for item in judged if item.flagged])
    sets = audit_sets(forget, judges, recipe.unseen, recipe.ability, recipe.neighbours)
    return replace(
        sets, holdout=tuple(changed(j.dialogue) for j in forget if re.search(r"\d", _said(j.dialogue)))
    ), judges


def changed(dialogue: Dialogue) -> Dialogue:
    """The same dialogue with every digit of its response three higher."""
    return dialogue.answered(re.sub(r"\d", lambda m: str((int(m[0]) + 3) % 10), _said(dialogue)))


def _said(dialogue: Dialogue) -> str:
    return dialogue.response or ""


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Of the clock, and of the processor."""
    clock, processor = time.monotonic(), time.process_time()
    work()
    return time.monotonic() - clock, time.process_time() - processor


def told(name: str, spent: tuple[float, float]) -> None:
    print(f"| {name} | {spent[0]:.1f} | {spent[1]:.1f} |", flush=True)


def measure_town() -> None:
    sets, judges = town()
    models = {"after": load_model("town"), "before": load_model("town"), "oracle": load_model("town-oracle")}
    print("| the town | seconds | of the processor |\n|---|---|---|")
    after, before, oracle = models.values()
    plain = seconds(lambda: audit(after, before, sets, judges, oracle=oracle))
    told("audit without probes", plain)
    scores = Scores()
    readings = {name: read(lm, sets, judges, samples=0, seed=0, scores=scores) for name, lm in models.items()}
    case = Case(after, before, oracle, sets, tuple(judges), scores=scores, readings=readings)
    total = list(plain)
    for name in PROBES:
        spent = seconds(lambda name=name: run_probes([name], case))
        told(name, spent)
        total = [a + b for a, b in zip(total, spent, strict=True)]
    told("all", (total[0], total[1]))
    shared_pass(sets, list(models.values()))


def shared_pass(sets: Sets, models: list[LanguageModel]) -> None:
    """The likelihoods once, as the audit has them, against once for each measure of them."""
    dialogues = [*(j.dialogue for j in sets.faulty), *sets.holdout]
    rows = [[lm.format.encode(d) for d in dialogues] for lm in models]
    scores = Scores()

    def shared() -> None:
        for _ in range(MEASURES):
            for lm, own in zip(models, rows, strict=True):
                scores.of(lm, own)

    def separate() -> None:
        for _ in range(MEASURES):
            for lm, own in zip(models, rows, strict=True):
                token_scores(lm, own)

    one, many = seconds(shared), seconds(separate)
    told(f"likelihoods of {MEASURES} measures, one pass", one)
    told(f"likelihoods of {MEASURES} measures, a pass each", many)
    print(f"\none pass takes {one[1] / many[1]:.2f} of the time\n")


def measure_tofu(models: Path, tofu: Path) -> None:
    full, oracle = (load_model(models / f"tofu800-{name}", template="plain") for name in ("full", "retain-oracle"))
    forget = tuple(read_forget(tofu / "forget01.jsonl"))
    sets = Sets(forget, holdout=tuple(read_dialogues(tofu / "holdout01.jsonl")))
    print("| TOFU forget01 on tofu800 | seconds | of the processor |\n|---|---|---|")
    names = ["likelihood", "membership", "depth"]
    told(", ".join(names), seconds(lambda: audit(full, full, sets, [], oracle=oracle, samples=0, probes=names)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--tofu", type=Path)
    options = parser.parse_args()
    print(f"{limit_threads()} threads, torch {torch.__version__}\n")
    measure_town()
    if options.models and options.tofu:
        measure_tofu(options.models, options.tofu)


if __name__ == "__main__":
    main()
