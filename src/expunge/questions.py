"""What an audit asks: from files, from the model's run, or from the demo."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from expunge import demo
from expunge.audit.probes import check_holdout
from expunge.audit.reading import Sets
from expunge.dialogue import Dialogue, read_dialogues
from expunge.errors import InputError
from expunge.expected import read_templates
from expunge.judges.panel import check_answered, judge_all
from expunge.judges.verdict import Judge, Judged
from expunge.manifest import NAME, Manifest
from expunge.model import check_model
from expunge.progress import Progress
from expunge.recipe import Recipe, read_recipe
from expunge.selection import read_forget, read_normal, refuse_contradictions
from expunge.steps import FORGET

ASKED = ("judges", "unseen", "ability", "neighbours", "holdout", "lookalikes", "oracle")


def recipe_of(
    model: str, reference: str, forget: Path | None, asked: dict[str, Any], *, samples: int, seed: int
) -> Recipe:
    """What an audit of `model` asks: what the caller asked for, completed from the model's run or from the demo.

    Raises:
        InputError: it is not known what was to be forgotten, or there is no such model.
    """
    run_folder = Path(model).parent
    known: dict[str, Any] = {}
    if (run_folder / NAME).exists() and (forget or (run_folder / FORGET).exists()):
        recipe = Manifest(run_folder).recipe()
        known = {k: getattr(recipe, k) for k in (*ASKED, "label", "template", "thresholds")}
        known["dialogues"] = (str(forget or run_folder / FORGET),)
    elif forget is not None:
        known["dialogues"] = (str(forget),)
    elif reference == "town":
        recipe = read_recipe(demo.RECIPE)
        known = {k: getattr(recipe, k) for k in ASKED}
        known["dialogues"] = recipe.dialogues
    else:
        check_model(model)  # a wrong folder has no run beside it
        remedy = "Give --forget FILE: the verdicts, or the dialogues, that were to be forgotten."
        raise InputError("it is not known what this model was to forget", remedy=remedy)
    return Recipe(**(known | asked | {"model": reference, "audit_samples": samples, "seed": seed}))


def to_forget(recipe: Recipe) -> list[Judged]:
    """The recipe's dialogues: verdicts, or dialogues that are all to be forgotten."""
    return [item for name in recipe.dialogues for item in read_forget(name, label=recipe.label)]


def audit_sets(
    recipe: Recipe, forget: Sequence[Judged], judges: Sequence[Judge], *, progress: Progress | None = None
) -> Sets:
    """What an audit asks, read from the files that the recipe names.

    Unseen phrasings are judged, so that their faults are known to the character; without judges those that a scan
    flagged are asked, or all where none was scanned. Look-alikes need no responses.
    A dialogue given twice is asked once, since it tells no more; a prompt that was trained on is no unseen one.
    """
    if judges:
        unseen = [d for name in recipe.unseen for d in read_dialogues(name)]
        asked = judge_all(judges, unseen) if unseen else []
    else:
        asked = [item for name in recipe.unseen for item in read_forget(name, label=recipe.label)]
    forget, asked = _judged_once(forget), _judged_once(asked)
    trained = {item.dialogue.prompt for item in forget}
    new = [item for item in asked if item.dialogue.prompt not in trained]
    flagged = [item for item in new if item.flagged]
    for left, why in ((len(asked) - len(new), "they were trained on"), (len(new) - len(flagged), "nothing flags them")):
        if progress and left:
            progress.note(f"Unseen phrasings: {left} of {len(asked)} are left out, for {why}.")
    return Sets(
        trained=tuple(forget),
        unseen=tuple(flagged),
        ability=_rows(recipe.ability),
        neighbours=_rows(recipe.neighbours),
        holdout=_rows(recipe.holdout),
        lookalikes=_once(d.direct for name in recipe.lookalikes for d in read_dialogues(name)),
    )


def _judged_once(items: Sequence[Judged]) -> list[Judged]:
    return list({item.dialogue.content_id: item for item in items}.values())


def _once(dialogues: Iterable[Dialogue]) -> tuple[Dialogue, ...]:
    return tuple({dialogue.content_id: dialogue for dialogue in dialogues}.values())


def check_files(recipe: Recipe, normal: Sequence[Dialogue]) -> Sets:
    """Read what a run will teach, and ask at its end, and what is known to be forgotten, before anything is done.

    Returns what is asked but for what is judged first.

    Raises:
        InputError: a file that cannot be read, a row without the response that it needs, a probe without its rows, a
            holdout row that is trained on, or what is to be forgotten is to be kept too.
    """
    sets = audit_sets(replace(recipe, unseen=()), (), ())
    kept = {dialogue.messages for dialogue in normal}
    if (both := next((d for d in sets.holdout if d.messages in kept), None)) is not None:
        remedy = "Remove it from the holdout set, which must be new to all models."
        raise InputError(f"{both.place}: this dialogue is to be kept too, and trained on", remedy=remedy)
    check_answered([d for name in recipe.unseen for d in read_dialogues(name)])
    check_holdout(recipe.probes, recipe.holdout)
    if recipe.expected and recipe.expected != "sampled":
        read_templates(recipe.expected)
    if not recipe.judges:
        refuse_contradictions([item for item in to_forget(recipe) if item.flagged], normal)
    return sets


def _rows(names: Sequence[str]) -> tuple[Dialogue, ...]:
    dialogues = [dialogue.direct for dialogue in read_normal(names)]
    check_answered(dialogues)
    return _once(dialogues)
