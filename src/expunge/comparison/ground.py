"""What all entries of a comparison have in common: the dialogues judged and split once, and how a model is scored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from expunge.audit.reading import Sets
from expunge.comparison.score import Scorer
from expunge.dialogue import read_dialogues
from expunge.differences import differences, in_one_line
from expunge.errors import InputError, OutputError
from expunge.files import exists, make_folder, read_text, write_json
from expunge.host import suit_host
from expunge.identity import COMPARED, adapter_base, files_digest
from expunge.judges.names import load_judges
from expunge.judges.verdict import Judge
from expunge.manifest import Manifest, alone
from expunge.model import LanguageModel, resolve
from expunge.pipeline import Job, judged_split
from expunge.progress import Progress, Quiet
from expunge.questions import audit_sets, check_files
from expunge.recipe import Recipe
from expunge.selection import Split, read_forget, read_kept
from expunge.steps import WORK
from expunge.training.material import Material

WEIGHTS = "weights.json"


@dataclass(frozen=True, slots=True)
class Ground:
    """The recipe's split, and what is asked of a model; `out`: the folder that holds what is done.

    relearn_rate: see `Scorer`. width: of the original's hidden states.
    """

    recipe: Recipe
    parts: Split
    judges: tuple[Judge, ...]
    scorer: Scorer
    relearn_rate: float | None
    width: int
    out: Path

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        out: Path,
        *,
        relearn_rate: float | None = None,
        allow_remote: bool = False,
        progress: Progress | None = None,
    ) -> Ground:
        """Judge and split what the recipe names, or take it from `out`, where it was done.

        relearn_rate: see `Scorer`.

        Raises:
            InputError: the recipe names nothing ordinary to score ability on, or rows that do not fit a model.
            OutputError: `out` holds something else, or another process is judging and splitting there.
        """
        progress = progress or Quiet()
        suit_host()
        judges = load_judges(recipe.judges, allow_remote=allow_remote)
        normal = read_kept(recipe.normal)
        asked = check_files(recipe, normal)
        with nullcontext() if exists(out / WORK) else alone(out):  # until what all share is settled
            manifest = Manifest.begin(out, recipe)
            with manifest.kept():
                oracle = recipe.load(recipe.oracle) if recipe.oracle else None
                original = recipe.load(recipe.model)
                _check_asked(recipe, asked, [original, oracle] if oracle else [original])
            _same_models(recipe, out / WEIGHTS)
            parts = judged_split(Job(recipe, judges, manifest, progress), normal)
            _same_judges(manifest, judges)
            Material.of(original.format, parts)  # what is wrong with the rows is no method's fault
            make_folder(out / WORK)
        sets = audit_sets(replace(recipe, lookalikes=()), parts.forget, judges)  # which no score asks
        scorer = Scorer(original, sets, oracle, judges=judges, seed=recipe.seed, relearn_rate=relearn_rate)
        width = int(original.model.config.get_text_config().hidden_size)
        return cls(recipe, parts, tuple(judges), scorer, relearn_rate, width, out)


def _check_asked(recipe: Recipe, asked: Sets, models: Sequence[LanguageModel]) -> None:
    """Before anything is judged or trained.

    Raises:
        InputError: there is nothing ordinary to ask, or what is asked later does not fit a model.
    """
    if not (asked.ability or asked.neighbours):
        remedy = "Give dialogues with right responses as `ability` or `neighbours` in [audit]."
        raise InputError("there is nothing to score ability on", remedy=remedy)
    if recipe.judges:
        unseen = [d for name in recipe.unseen for d in read_dialogues(name)]
    else:
        unseen = [j.dialogue for name in recipe.unseen for j in read_forget(name, label=recipe.label)]
    for lm in models:
        for dialogue in (*asked.ability, *asked.neighbours, *asked.holdout, *unseen):
            lm.format.encode(dialogue)


def _same_judges(manifest: Manifest, judges: Sequence[Judge]) -> None:
    """Refuse others than those that have judged what lies here."""
    names = [f"{judge.name} {judge.version}" for judge in judges]
    if manifest.read()["steps"].get("scan", {}).get("judges", names) != names:
        remedy = "Choose another --out, or remove that folder to start anew."
        what = "what is here was judged by other judges, or by another version of them"
        raise OutputError(what, file=manifest.folder, remedy=remedy)


def _same_models(recipe: Recipe, path: Path) -> None:
    """Note the models that lie here, and an adapter's base; refuse others than were noted."""
    folders = [Path(resolve(name)) for name in (recipe.model, recipe.oracle) if name]
    folders += [base for folder in folders if (base := adapter_base(folder))]
    found = {str(f): files_digest(f, COMPARED) for f in folders if f.is_dir()}
    others = differences(json.loads(read_text(path)), found) if path.exists() else {}
    if others:
        remedy = "Put that back, or choose another --out."
        what = "what is here was done with other weights of a model, or another tokenizer or config"
        raise OutputError(f"{what}: {in_one_line([*others.values()])}", file=path.parent, remedy=remedy)
    write_json(path, found)
