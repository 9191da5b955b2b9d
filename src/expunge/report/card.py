"""A Hugging Face model card: what the audit showed, as text and as metadata. No dialogue, no path of this machine."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

from expunge.audit.result import Audit, Claim, Measure
from expunge.files import write_text
from expunge.report.redact import showable
from expunge.report.wording import LIMITS, changed, claimed, figure, interval, told

SHOWN = ("forgetting", "ability", "neighbours", "refusals", "fluency")
"""Groups of which every figure is told; the others are in `audit.json`."""

_HUB_NAME = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")


def write_card(audit: Audit, path: Path, *, adapter: bool = False) -> Path:
    """Write the card of an audited model and return its path; adapter: whether it is one and no whole model.

    Raises:
        OutputError: the path cannot be written.
    """
    write_text(path, card(audit, adapter=adapter))
    return path


def card(audit: Audit, *, adapter: bool = False) -> str:
    """The card: YAML metadata with one result a measured claim, and Markdown."""
    from huggingface_hub import ModelCardData

    measured = [claim for claim in audit.claims if claim.found and math.isfinite(claim.found.value)]
    data = ModelCardData(
        base_model=audit.reference if _on_the_hub(audit.reference) else None,
        library_name="peft" if adapter else "transformers",
        pipeline_tag="text-generation",
        tags=["unlearning", "expunge"],
        model_name=f"{_named(audit.reference)}-unlearned",
        eval_results=[_result(claim) for claim in measured] or None,
    )
    return f"---\n{data.to_yaml()}\n---\n" + "\n".join(_text(audit))


def _on_the_hub(name: str) -> bool:
    return bool(_HUB_NAME.fullmatch(name)) and not Path(name).exists()


def _named(model: str) -> str:
    """The last part of a name: the folders before it are nobody's business."""
    return re.sub(r"[^\w.-]", "-", PurePath(model).name) or "model"


def _result(claim: Claim) -> Any:
    from huggingface_hub import EvalResult

    assert claim.found is not None
    found = claim.found
    return EvalResult(
        task_type="text-generation",
        dataset_type="expunge-audit",
        dataset_name="Expunge audit",
        metric_type=claim.name,
        metric_name=_plain(claim.title + changed(claim).replace(" ", ": ", 1)),
        metric_value=found.value,
        metric_args={
            "low": found.low, "high": found.high, "count": found.count, "threshold": claim.threshold,
            "outcome": claim.outcome,
        },
    )  # fmt: skip


def _text(audit: Audit) -> Iterator[str]:
    yield f"# {_named(audit.reference)}, unlearned"
    yield ""
    paper = "[arXiv 2404.16841](https://arxiv.org/abs/2404.16841)"
    yield (
        f"Some dialogues were unlearned from this model with Expunge ({paper}). "
        f"An audit of it ended **{audit.outcome}**."
    )
    yield "\n## What is claimed\n"
    yield "| claim | found | 95% interval | threshold | |\n|---|---|---|---|---|"
    yield from map(_claim, audit.claims)
    yield "\n## Before and after\n"
    yield "| measure | before | after [95% interval] | n |\n|---|---|---|---|"
    yield from (_row(m) for m in audit.measures if m.group in SHOWN)
    yield "\n## Limits\n"
    yield LIMITS
    yield "\n## Lineage\n"
    yield from (f"- {_plain(name)}: {_plain(value)}" for name, value in _lineage(audit))
    yield ""


def _claim(claim: Claim) -> str:
    ends = f"{claimed(claim, 'low')} to {claimed(claim, 'high')}" if claim.found else "–"
    end = f"{claim.outcome}: {_plain(claim.why)}"
    found = claimed(claim, "value") + told(claim)
    return f"| {_plain(claim.title)} | {found} | {ends} | {claim.threshold:g} | {end} |"


def _row(m: Measure) -> str:
    before = figure(m.before.value, m.unit) if m.before else "–"
    after = f"{figure(m.after.value, m.unit)} [{interval(m.after, m.unit)}]"
    return f"| {_plain(m.title)} | {before} | {after} | {m.after.count} |"


def _lineage(audit: Audit) -> Iterator[tuple[str, str]]:
    """Hashes, a base in 4 bits, seed and versions; inputs and models are named by paths, and so left out."""
    yield "audit.json, SHA-256", audit.digest
    facts = audit.facts
    if weights := facts.get("weights", {}).get("model"):
        yield "weights, SHA-256", str(weights)
    if base := facts.get("unlearn", {}).get("base"):
        yield "base", str(base)
    if "seed" in facts:
        yield "seed", str(facts["seed"])
    yield from ((str(name), str(version)) for name, version in facts.get("versions", {}).items())


def _plain(text: str) -> str:
    """Text in a cell: one line, and neither Markdown nor HTML."""
    line = html.escape(" ".join(showable(text).split()), quote=False)
    return re.sub(r"([\\`*_\[\]|])", r"\\\1", line)
