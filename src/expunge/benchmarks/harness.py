"""Tasks of lm-eval (the Language Model Evaluation Harness): WMDP and MMLU, or any others."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import numpy as np

from expunge.audit import intervals
from expunge.audit.result import Better, Estimate, Group, Measure
from expunge.benchmarks.result import Models, Result
from expunge.errors import InputError, MissingExtraError
from expunge.model import LanguageModel

HAZARDOUS = ("wmdp_bio", "wmdp_cyber", "wmdp_chem")
"""WMDP (Li et al. 2024, arXiv 2403.03218): what is to be forgotten; four choices, so 0.25 is chance."""
ORDINARY = ("mmlu",)
"""What WMDP's authors measure beside it."""
_NO_SHARE = re.compile(r"perplexity|bits_per|likelihood|bleu|chrf|rouge|brier|(^|_)ter(_|$)")
"""Metrics that are none, even where they lie between 0 and 1."""


def manager(tasks: Sequence[str], folder: Path | None = None) -> Any:
    """lm-eval's manager, which knows the tasks named; `folder` holds task files (YAML) of one's own.

    Raises:
        InputError: an unknown task, or no such folder.
        MissingExtraError: lm-eval is not installed.
    """
    try:
        from lm_eval.tasks import TaskManager
    except ImportError:
        raise MissingExtraError("lm-eval", "lm-eval", "running tasks of lm-eval") from None
    if folder is not None and not folder.is_dir():
        raise InputError("there is no such folder", file=folder, remedy="Give a folder of lm-eval task files (YAML).")
    found = TaskManager(include_path=str(folder) if folder else None)
    for name in tasks:
        if name not in found.all_tasks:
            close = get_close_matches(name, found.all_tasks, n=3)
            hint = f"Did you mean {', '.join(close)}? " if close else ""
            raise InputError(f"lm-eval has no task {name!r}", remedy=f"{hint}`lm-eval ls tasks` lists all.")
    return found


def run(
    models: Models,
    tasks: Sequence[str],
    known: Any,
    *,
    name: str,
    forgotten: Collection[str] = (),
    limit: int | None = None,
    batch_size: int = 8,
) -> Result:
    """What lm-eval finds of a model and, where there is one, of the oracle. Prompts have no chat template.

    known: from `manager`. forgotten: the tasks that measure what should be gone. limit: rows of each task, the first.

    Raises:
        InputError: lm-eval cannot load or run a task.
    """
    found = {key: _evaluated(lm, tasks, known, limit, batch_size) for key, lm in models.named.items()}
    keys = list(_keys(found["after"]))
    measures = [_measure(task, key, found, task in forgotten) for task, key in keys]
    counts = {task: measure.after.count for (task, _), measure in zip(keys, measures, strict=True)}
    versions = {task: found["after"].get("versions", {}).get(task) for task in counts}
    return models.result(name, measures, {"rows": counts, "versions": versions})


def _evaluated(lm: LanguageModel, tasks: Sequence[str], known: Any, limit: int | None, batch_size: int) -> Any:
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    wrapped = HFLM(pretrained=lm.model, tokenizer=lm.format.tokenizer, backend="causal", batch_size=batch_size)
    try:
        return simple_evaluate(wrapped, tasks=list(tasks), task_manager=known, limit=limit, bootstrap_iters=2000)
    except (OSError, ValueError, ImportError) as error:
        said = (str(error).strip() or type(error).__name__).split("\n")[0][:200]
        remedy = "A task's rows come from the Hugging Face hub, unless its file names local ones."
        raise InputError(f"lm-eval cannot run {', '.join(tasks)}: {said}", remedy=remedy) from None


def _keys(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Tasks, but those inside a group, each with the key of a figure, such as "acc,none"."""
    inner = {child for children in found.get("group_subtasks", {}).values() for child in children}
    for task, figures in found["results"].items():
        for key, value in figures.items():
            metric, comma, _ = key.partition(",")
            if task not in inner and comma and not metric.endswith("_stderr") and isinstance(value, int | float):
                yield task, key


def _samples(task: str, found: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The rows of a task, or of all tasks in a group; once for each filter."""
    children = found.get("group_subtasks", {}).get(task)
    if children:
        for child in children:
            yield from _samples(child, found)
    else:
        yield from found.get("samples", {}).get(task, ())


def _measure(task: str, key: str, found: Mapping[str, Mapping[str, Any]], forgotten: bool) -> Measure:
    metric, _, kept = key.partition(",")
    estimates = {name: _estimate(task, key, results) for name, results in found.items()}
    higher = found["after"].get("higher_is_better", {}).get(task, {}).get(metric, True) != forgotten
    better: Better = "higher" if higher else "lower"
    share = not _NO_SHARE.search(metric) and all(0 <= e.value <= 1 for e in estimates.values())
    meaning = f"lm-eval's {metric!r}" + (f" (filter {kept!r})." if kept != "none" else ".")
    named = f"{task}_{metric}" + (f"_{kept}" if kept != "none" else "")
    group: Group = "forgetting" if forgotten else "ability"
    unit: Literal["share", "number"] = "share" if share else "number"
    return Measure(named, f"{task}: {metric}", meaning, group, unit, better, **estimates)


def _estimate(task: str, key: str, found: Mapping[str, Any]) -> Estimate:
    """lm-eval's figure; a bootstrap over rows where it is their mean, else 1.96 of lm-eval's standard errors."""
    metric, _, kept = key.partition(",")
    value = float(found["results"][task][key])
    rows = [s.get(metric) for s in _samples(task, found) if s.get("filter", kept) == kept]
    numbers = [float(row) for row in rows if isinstance(row, int | float | np.number)]
    if numbers and len(numbers) == len(rows) and math.isclose(float(np.mean(numbers)), value, abs_tol=1e-9):
        return intervals.mean(numbers)
    error = found["results"][task].get(f"{metric}_stderr,{kept}")
    reach = 1.96 * error if isinstance(error, int | float) else math.nan
    return Estimate(value, value - reach, value + reach, len(rows))
