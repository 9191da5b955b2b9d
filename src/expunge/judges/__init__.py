"""Step 2: judges read dialogues and pinpoint those that need unlearning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from expunge.judges.names import load_judge
from expunge.judges.panel import judge_all
from expunge.judges.verdict import FAULTS, LABELS, Judge, Judged, Label, Verdict, read_verdicts, write_verdicts
from expunge.span import Span

if TYPE_CHECKING:
    from expunge.judges.classifier import ClassifierJudge
    from expunge.judges.facts import FactsJudge, Reference, read_references
    from expunge.judges.policy_judge import PolicyJudge
    from expunge.judges.privacy import PrivacyJudge
    from expunge.judges.registry import Entry, read_registry
    from expunge.judges.remote import RemoteJudge
    from expunge.judges.reproduction import ReproductionJudge

__all__ = [
    "FAULTS",
    "LABELS",
    "ClassifierJudge",
    "Entry",
    "FactsJudge",
    "Judge",
    "Judged",
    "Label",
    "PolicyJudge",
    "PrivacyJudge",
    "Reference",
    "RemoteJudge",
    "ReproductionJudge",
    "Span",
    "Verdict",
    "judge_all",
    "load_judge",
    "read_references",
    "read_registry",
    "read_verdicts",
    "write_verdicts",
]

_HOMES = {
    "ClassifierJudge": "classifier",
    "Entry": "registry",
    "FactsJudge": "facts",
    "PolicyJudge": "policy_judge",
    "PrivacyJudge": "privacy",
    "Reference": "facts",
    "RemoteJudge": "remote",
    "ReproductionJudge": "reproduction",
    "read_references": "facts",
    "read_registry": "registry",
}


def __getattr__(name: str) -> Any:
    """A judge is imported when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
