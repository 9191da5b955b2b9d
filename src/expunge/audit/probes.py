"""Probes: attacks on what was forgotten, and other measures that cost a pass of their own; asked for by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module

from expunge.audit.names import PROBES, check_probes
from expunge.audit.reading import Advance, Sets
from expunge.audit.result import Measure
from expunge.judges.verdict import Judge
from expunge.model import LanguageModel


@dataclass(frozen=True, slots=True)
class Case:
    """What a probe looks at. It changes no model and draws from no global generator.

    after: the audited model; before: the reference model; oracle: one that never saw the forget set, if there is one.
    """

    after: LanguageModel
    before: LanguageModel
    oracle: LanguageModel | None
    sets: Sets
    judges: tuple[Judge, ...]
    seed: int = 0
    advance: Advance | None = None


Probe = Callable[[Case], list[Measure]]


def run_probes(names: Sequence[str], case: Case) -> list[Measure]:
    """The measures of the probes named, in order.

    Raises:
        InputError: an unknown name, or a probe lacks what it needs.
    """
    check_probes(names)
    found: list[Measure] = []
    for name in names:
        module, _, function = PROBES[name].partition(":")
        probe: Probe = getattr(import_module(f"expunge.audit.{module}"), function)
        found += probe(case)
    return found
