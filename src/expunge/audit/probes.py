"""Probes: attacks on what was forgotten, and other measures that cost a pass of their own; asked for by name."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module

from expunge.audit.names import PROBES, check_probes
from expunge.audit.reading import Advance, Reading, Sets
from expunge.audit.result import Measure, Sample
from expunge.audit.scores import Scores
from expunge.errors import InputError
from expunge.judges.verdict import Judge, Judged
from expunge.model import LanguageModel


@dataclass(frozen=True, slots=True)
class Case:
    """What a probe looks at. It changes no model and draws from no global generator.

    after: the audited model; before: the reference model; oracle: one that never saw the forget set, if there is one.
    scores: what is known of the models' likelihoods. readings: what the models said, by "after", "before", "oracle".
    samples: where a probe adds to the dialogues that a report shows.
    """

    after: LanguageModel
    before: LanguageModel
    oracle: LanguageModel | None
    sets: Sets
    judges: tuple[Judge, ...]
    seed: int = 0
    advance: Advance | None = None
    scores: Scores = field(default_factory=Scores)
    readings: Mapping[str, Reading] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)

    @property
    def models(self) -> dict[str, LanguageModel]:
        """The models there are, by "after", "before" and "oracle"."""
        named = {"after": self.after, "before": self.before, "oracle": self.oracle}
        return {name: lm for name, lm in named.items() if lm is not None}


Probe = Callable[[Case], list[Measure]]


def check_sets(names: Sequence[str], sets: Sets) -> None:
    """Make sure, before any work, that the probes named have the dialogues they need.

    Raises:
        InputError: they have not, or what should be new to all models is to be forgotten.
    """
    if "relearning" in names and len({topic(j) for j in sets.trained}) < 2:
        remedy = "Give the dialogues a `subject`, or leave this probe out."
        raise InputError("relearning needs forgotten dialogues about two subjects at least", remedy=remedy)
    if "membership" in names:
        _check_members(sets)


def topic(item: Judged) -> str:
    """What a dialogue is about, so that others about it tell of it: its subject, or else its old response; of a thought
    and its answer, which are about one thing, what was asked."""
    dialogue = item.dialogue
    apart = dialogue.asked != dialogue.prompt or dialogue.thinks
    return dialogue.subject or (dialogue.question if apart else dialogue.response) or ""


def _check_members(sets: Sets) -> None:
    if not sets.trained:
        raise InputError(
            "the probe 'membership' needs dialogues to be forgotten", remedy="Give them with --forget FILE."
        )
    check_holdout(["membership"], sets.holdout)
    known = {j.dialogue.messages for j in sets.faulty}
    for dialogue in sets.holdout:
        if dialogue.messages in known:
            remedy = "Remove it from the holdout set, which must be new to all models."
            raise InputError(f"{dialogue.place}: this dialogue is to be forgotten too", remedy=remedy)


def check_holdout(names: Sequence[str], holdout: Sequence[object]) -> None:
    """Raises: InputError: a probe compares with rows that no model was trained on, and there are none."""
    if "membership" in names and not holdout:
        remedy = "Give dialogues like the forgotten ones that no model was trained on, with --holdout or in the recipe."
        raise InputError("the probe 'membership' needs a holdout set", remedy=remedy)


def with_thinking(names: Sequence[str], lm: LanguageModel) -> tuple[str, ...]:
    """The probes named, and `thinking` for a model that thinks before it answers: so it is used.

    Raises:
        InputError: `thinking` is named, and the model's chat template knows no thoughts.
    """
    if "thinking" in names and not lm.format.thinking.nothing:
        remedy = "Leave the probe 'thinking' out, or give the template by which it does (--template FILE)."
        raise InputError(f"the model {lm.name!r} does not think first, as its chat template has it", remedy=remedy)
    return tuple(dict.fromkeys([*names, *(["thinking"] if lm.format.thinking.thinks else [])]))


PASSES: Mapping[str, int] = {"prompts": 15, "quantization": 4, "relearning": 10}
"""How often a probe puts the forgotten prompts to each model, about; the others once."""


def probe_work(names: Sequence[str], sets: Sets, models: int) -> int:
    """By how much the probes named advance in all, so that a bar can be drawn."""
    return sum(_asked(name, sets) for name in set(names)) * models


def _asked(name: str, sets: Sets) -> int:
    if name == "thinking":  # a thought and an answer each
        return 2 * (len(sets.faulty) + len(sets.let_think))
    return PASSES.get(name, 1) * len(sets.trained)


def run_probes(names: Sequence[str], case: Case) -> list[Measure]:
    """The measures of the probes named, in order, each once.

    Raises:
        InputError: an unknown name, or a probe lacks what it needs.
    """
    check_probes(names)
    check_sets(names, case.sets)
    found: list[Measure] = []
    for name in dict.fromkeys(names):
        module, _, function = PROBES[name].partition(":")
        probe: Probe = getattr(import_module(f"expunge.audit.{module}"), function)
        total = probe_work([name], case.sets, len(case.models))
        with _advancing(case, total) as part:
            found += probe(part)
    return found


@contextlib.contextmanager
def _advancing(case: Case, total: int) -> Iterator[Case]:
    """The case for one probe, which advances by `total` in all, however much of it the probe reports itself."""
    left, tell = total, case.advance or (lambda count: None)

    def advance(count: int) -> None:
        nonlocal left
        told = min(count, left)
        left -= told
        tell(told)

    yield replace(case, advance=advance)
    tell(left)
