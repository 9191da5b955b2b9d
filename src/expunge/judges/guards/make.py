"""Guard judges by family: one function each, with the options of a judge file as keywords."""

from __future__ import annotations

from pathlib import Path

from expunge.errors import InputError
from expunge.judges.guards.granite_guardian import RISKS, GraniteGuardian
from expunge.judges.guards.judge import GuardJudge
from expunge.judges.guards.llama_guard import LlamaGuard
from expunge.judges.guards.qwen3guard import Qwen3Guard
from expunge.judges.guards.shieldgemma import ShieldGemma
from expunge.judges.guards.wildguard import WildGuard
from expunge.judges.statements import read_statements


def qwen3guard(
    model: str | Path, *, strict: bool = False, threshold: float = 0.5, context: int = 8192, device: str | None = None
) -> GuardJudge:
    """Qwen3Guard-Gen. strict: "Controversial" responses count as faults too."""
    return GuardJudge(model, Qwen3Guard(strict), threshold=threshold, context=context, device=device)


def llama_guard(
    model: str | Path, *, threshold: float = 0.5, context: int = 8192, device: str | None = None
) -> GuardJudge:
    """Llama Guard 3."""
    return GuardJudge(model, LlamaGuard(), threshold=threshold, context=context, device=device)


def wildguard(
    model: str | Path, *, threshold: float = 0.5, context: int = 8192, device: str | None = None
) -> GuardJudge:
    """WildGuard; its verdict on the response counts, that on the request and refusals are noted."""
    return GuardJudge(model, WildGuard(), threshold=threshold, context=context, device=device)


def shieldgemma(
    model: str | Path, *, threshold: float = 0.5, context: int = 8192, device: str | None = None
) -> GuardJudge:
    """ShieldGemma: four prompts a response, one for each kind of harm."""
    return GuardJudge(model, ShieldGemma(), threshold=threshold, context=context, device=device)


def granite_guardian(
    model: str | Path,
    *,
    risk: str = "harm",
    references: str | Path = "",
    threshold: float = 0.5,
    context: int = 8192,
    device: str | None = None,
) -> GuardJudge:
    """Granite Guardian. risk: one of its risks; "groundedness" is judged against `references`.

    Raises:
        InputError: an unknown risk, groundedness without references, or as `GuardJudge`.
    """
    if risk not in RISKS:
        raise InputError(f"unknown risk {risk!r}", remedy=f"Known: {', '.join(RISKS)}.")
    if (risk == "groundedness") != bool(references):
        raise InputError(
            "groundedness, and it alone, is judged against references",
            remedy='Write risk = "groundedness" and references = "FILE.jsonl" in a judge file.',
        )
    known = read_statements(references) if references else None
    return GuardJudge(
        model,
        GraniteGuardian(risk),
        threshold=threshold,
        context=context,
        device=device,
        documents=known.about if known else None,
        documents_version=known.version if known else "",
    )
