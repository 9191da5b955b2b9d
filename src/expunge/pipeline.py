"""The steps in order: judge, select, forget, audit, report. Each leaves a file; what exists is not done again.

A run is a folder. Killed at any moment, the same call goes on from there.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from expunge import demo
from expunge.audit.audit import audit
from expunge.audit.probes import check_sets, probe_work, with_thinking
from expunge.audit.reading import Sets
from expunge.audit.result import Audit, read_audit
from expunge.dialogue import Dialogue, read_dialogues
from expunge.errors import InputError
from expunge.expected import TEMPLATES, read_templates, sample_expected, with_expected
from expunge.host import suit_host
from expunge.identity import weights_digest
from expunge.judges.names import load_judges
from expunge.judges.panel import judge_all
from expunge.judges.usage import tell_usage
from expunge.judges.verdict import Judge, Judged, read_verdicts, write_verdicts
from expunge.manifest import Manifest, alone, weights
from expunge.model import ADAPTER, LanguageModel, check_model, resolve, usable_device
from expunge.own_thoughts import own_thoughts
from expunge.progress import Progress, Quiet
from expunge.questions import audit_sets, check_files, to_forget
from expunge.recipe import Recipe
from expunge.report import write_card, write_report
from expunge.scan import Asking, Loaded, aside_of, chat_format, scan
from expunge.selection import Split, read_kept, read_normal, read_split, split, write_split
from expunge.steps import FORGET, SPLIT, VERDICTS
from expunge.training.checkpoints import CHECKPOINTS
from expunge.training.config import UnlearnConfig
from expunge.training.processes import is_main, join, launched, main_first
from expunge.training.unlearn import read_unlearned, unlearn


@dataclass(frozen=True, slots=True)
class Job:
    """A run under way: what is to be done, by which judges, and the manifest of the folder that keeps it."""

    recipe: Recipe
    judges: list[Judge]
    manifest: Manifest
    progress: Progress

    @property
    def out(self) -> Path:
        """The run's folder."""
        return self.manifest.folder


def run(
    recipe: Recipe, out: Path, *, reveal: bool = False, allow_remote: bool = False, progress: Progress | None = None
) -> Audit:
    """Do all that a recipe says, in the folder `out`, and return the audit.

    allow_remote: whether remote judges may be sent dialogues; neither a recipe nor an earlier run's folder grants it.

    Raises:
        InputError: the recipe's files or names cannot be used. OutputError: `out` holds another or a finished run.
    """
    if launched() > 1:
        remedy = "Run `expunge scan`, then this launcher with `-m expunge unlearn`, then `expunge audit`."
        raise InputError(f"{launched()} processes cannot share a whole run", remedy=remedy)
    progress = progress or Quiet()
    suit_host()
    judges = load_judges(recipe.judges, allow_remote=allow_remote)
    normal, _ = read_kept(recipe.normal), _never_seen(recipe)
    check_files(recipe, normal)
    with alone(out):
        manifest = Manifest.begin(out, recipe)
        job = Job(recipe, judges, manifest, progress)
        with manifest.kept():
            parts = judged_split(job, normal)
            check_sets(recipe.probes, Sets(parts.forget, holdout=tuple(read_normal(recipe.holdout))))
            result = _unlearn(job, parts)
        found = _audit(job, parts.forget, result)
        write_card(found, result / "README.md", adapter=bool(recipe.config.lora_rank))
        write_report(found, out / "report.html", reveal=reveal)
        manifest.finish()
    tell_usage(judges, progress)
    return found


def unlearn_run(
    recipe: Recipe, out: Path, *, allow_remote: bool = False, progress: Progress | None = None
) -> dict[str, Any]:
    """The middle of `run` alone: `recipe.dialogues` are verdicts, or dialogues that are all to be forgotten.

    Returns what the manifest keeps of it, and the `path` of the weights.
    """
    progress = progress or Quiet()
    suit_host()
    judges = load_judges(recipe.judges, allow_remote=allow_remote)
    judged, normal = to_forget(recipe), read_kept(recipe.normal)
    join(cpu=usable_device(recipe.device).type == "cpu")
    with alone(out) if is_main() else nullcontext():
        with main_first():
            manifest = Manifest.begin(out, recipe)
        job = Job(recipe, judges, manifest, progress)
        with manifest.kept():
            with nullcontext() if recipe.config.sharded else main_first():  # all, where each holds but a part
                parts = _split(job, judged, normal)
            path = _unlearn(job, parts)
        if is_main():
            manifest.finish()
    tell_usage(judges, progress)
    found: dict[str, Any] = manifest.read()["steps"]["unlearn"]
    return found | {"path": str(path)}


def audit_run(
    model: str,
    recipe: Recipe,
    out: Path,
    *,
    reveal: bool = False,
    allow_remote: bool = False,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Audit:
    """Audit a model as a recipe says: `recipe.model` is the reference, `recipe.dialogues` what was to be forgotten.
    In the folder `cache` likelihoods are kept for other audits of the same models.
    """
    progress = progress or Quiet()
    suit_host()
    judges = load_judges(recipe.judges, allow_remote=allow_remote)
    check_model(model)
    if recipe.dialogues == (str(demo.path("dialogues.jsonl")),):
        judged = judge_all(judges, read_dialogues(recipe.dialogues[0]))
    else:
        judged = to_forget(recipe)
    forget = [item for item in judged if item.flagged]
    with alone(out):
        manifest = Manifest.begin(out, recipe, audited=model)
        with manifest.kept():
            found = _audit(Job(recipe, judges, manifest, progress), forget, Path(model), cache)
        write_card(found, out / "model-card.md", adapter=(Path(model) / ADAPTER).exists())
        write_report(found, out / "report.html", reveal=reveal)
        manifest.finish()
    tell_usage(judges, progress)
    return found


def judged_split(job: Job, normal: Sequence[Dialogue]) -> Split:
    """What the recipe's dialogues come to, judged: what must go and what must stay; kept in the run's folder."""
    return _split(job, _scan(job), normal)


def _scan(job: Job) -> list[Judged]:
    recipe, judges, path = job.recipe, job.judges, job.out / VERDICTS
    if path.exists():
        return read_verdicts(path)
    start, resumed, aside = time.monotonic(), 0, 0
    if judges:
        model = Loaded.of(recipe.model, recipe.template, cache(lambda: recipe.load(recipe.model)))
        asking = Asking(model, samples=recipe.scan_samples, seed=recipe.seed)
        chat = partial(chat_format, recipe.model, recipe.template) if recipe.set_aside else None
        found = scan(recipe.dialogues, judges, path, asking=asking, set_aside=chat, progress=job.progress)
        resumed, aside = found.resumed, found.aside
    else:
        write_verdicts(path, to_forget(recipe))
    judged = read_verdicts(path)
    if aside:
        job.progress.note(f"{aside} rows were set aside: {aside_of(path)} says which, and why.")
    more: dict[str, Any] = {"aside": aside} if aside else {}
    more |= {} if resumed else {"seconds": _since(start)}  # how long a killed part took is not known
    job.manifest.add("scan", {"dialogues": len(judged), "judges": [f"{j.name} {j.version}" for j in judges], **more})
    return judged


def _split(job: Job, judged: Sequence[Judged], normal: Sequence[Dialogue]) -> Split:
    """The split, with the model's own thoughts and the expected outputs; the run's folder keeps it."""
    recipe, place, unseen = job.recipe, job.out / SPLIT, _never_seen(job.recipe)
    if (job.out / FORGET).exists():
        return read_split(place, never_seen=unseen)
    parts = split(judged, normal, never_seen=unseen)
    lm = _base(recipe)
    told, kept = own_thoughts(lm, parts, job.judges, seed=recipe.seed, progress=job.progress)
    if told or kept:
        parts = split([*judged, *told], [*normal, *kept], never_seen=unseen)
    templates: Mapping[str, Sequence[str]] = TEMPLATES
    if recipe.expected == "sampled":
        templates = sample_expected(lm, parts.forget, job.judges, seed=recipe.seed)
    elif recipe.expected:
        templates = read_templates(recipe.expected)
    parts = replace(parts, forget=with_expected(lm, parts.forget, templates=templates))
    if is_main():
        write_split(place, parts)
    return parts


def _never_seen(recipe: Recipe) -> list[Dialogue]:
    """Raises: InputError: the method has no use for them, or the audit would compare with rows that it was told of."""
    if recipe.never_seen and "match" not in recipe.config.named_terms(never_seen=True):
        remedy = "Leave them out, or give terms of which `match` is one; the default method has it with them."
        raise InputError(f"the method {recipe.config.method!r} has no use for `never_seen` dialogues", remedy=remedy)
    found = read_normal(recipe.never_seen)
    told = {d.content_id for d in found}
    both = next((d for d in read_normal(recipe.holdout) if d.content_id in told), None)
    if both is not None:
        remedy = "Leave it out of one of the two: else the audit's membership test would test nothing."
        raise InputError(f"{both.place}: this dialogue is in `never_seen` and in the audit's `holdout`", remedy=remedy)
    return found


def _unlearn(job: Job, parts: Split) -> Path:
    config, target = job.recipe.config, job.out / job.recipe.config.result
    start = time.monotonic()
    if not target.exists():
        _forget(job, parts)
    with main_first():
        shutil.rmtree(job.out / CHECKPOINTS, ignore_errors=True)
        if "unlearn" not in job.manifest.read()["steps"]:
            job.manifest.add("unlearn", _done(config, parts, target, _since(start)))
    return target


def _done(config: UnlearnConfig, parts: Split, target: Path, seconds: float) -> dict[str, Any]:
    """What the manifest keeps of an unlearning."""
    result = read_unlearned(target)
    base = {"base": f"{config.base_bits} bits (NF4) while the adapter was trained"} if config.base_bits else {}
    return base | {
        "forget": len(parts.forget),
        "normal": len(parts.normal),
        "neighbours": len(parts.neighbours),
        "outcome": result.outcome,
        "steps": result.steps,
        "tokens": result.tokens,
        "seconds": max(seconds, result.seconds),  # of all parts of a training that was killed
        "weights": weights_digest(target),
        "history": result.history,
    }


def _forget(job: Job, parts: Split) -> None:
    lm, config = _base(job.recipe), job.recipe.config
    total, done = len(parts.forget), 0
    with job.progress.stage("Forgetting", total) as advance:

        def on_round(entry: dict[str, Any]) -> None:
            nonlocal done
            left = entry.get("active", total - total * entry["step"] // config.max_steps)
            advance(total - left - done)
            done = total - left

        unlearn(lm, parts, job.out, judges=job.judges, config=config, on_round=on_round)


def _audit(job: Job, forget: Sequence[Judged], result: Path, cache: Path | None = None) -> Audit:
    recipe, out = job.recipe, job.out
    if (out / "audit.json").exists():
        return read_audit(out)
    sets = audit_sets(recipe, forget, job.judges, progress=job.progress)
    names = {"model": str(result), "reference": recipe.model, "oracle": recipe.oracle}
    after, before, oracle = (recipe.load(name) if name else None for name in names.values())
    assert after is not None and before is not None
    known = job.manifest.read()
    done = known["steps"].get("unlearn", {})
    facts = {
        "inputs": known["inputs"],
        "versions": known["versions"],
        "weights": weights({part: name and resolve(name) for part, name in names.items()}),
        "seed": recipe.seed,
        "scan": known["steps"].get("scan", {}),
        "unlearn": {k: v for k, v in done.items() if k != "history"},
    }
    work = len(sets.prompts) * (3 if oracle else 2) + (len(sets.faulty) if recipe.audit_samples else 0)
    work += probe_work(with_thinking(recipe.probes, before), sets, 3 if oracle else 2)
    with job.progress.stage("Auditing", work) as advance:
        found = audit(
            after, before, sets, job.judges, oracle=oracle, samples=recipe.audit_samples, seed=recipe.seed,
            probes=recipe.probes, thresholds=recipe.thresholds, facts=facts, advance=advance, cache=cache,
        )  # fmt: skip
    found.write(out)
    job.manifest.add("audit", found.facts["audit"])
    return found


def _base(recipe: Recipe) -> LanguageModel:
    """The model to be trained, as it is held meanwhile; a large one may fit only so."""
    return recipe.load(recipe.model, bits=recipe.config.base_bits, sharded=recipe.config.sharded)


def _since(start: float) -> float:
    return round(time.monotonic() - start, 1)
