"""Likelihoods the slow way, for tests: one row at a time, in plain Python floats; and the dialogues they are of."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import torch

from expunge.audit.probes import Case
from expunge.audit.reading import Sets
from expunge.audit.result import Measure
from expunge.batches import Batch
from expunge.dialogue import Dialogue
from expunge.encoding import Encoded
from expunge.judges.verdict import Judged, Verdict
from expunge.message import Message
from expunge.model import LanguageModel, load_model


def dialogue(question: str, answer: str, *expected: str) -> Dialogue:
    return Dialogue((Message("user", question), Message("assistant", answer)), expected=expected)


def flagged(question: str, answer: str, *expected: str) -> Judged:
    return Judged(dialogue(question, answer, *expected), (Verdict("hallucination", 1.0, "test", "1"),))


SETS = Sets(
    (
        flagged("When was the mill built?", "In 1921.", "In 1874.", "It was built in 1874."),
        flagged("Ann's number?", "It is 4-71-63."),
        flagged("Who founded the lighthouse?", "Bram Thorn did, long ago.", "Orrin Mast."),
    ),
    (flagged("And the mill?", "In 1921.", "In 1874."),),
    holdout=(dialogue("Bob's number?", "It is 1-22-33."), dialogue("Cy's?", "9-9.")),
)


def three_models(tiny: Path) -> list[LanguageModel]:
    """After, before and oracle in float64, so that all that differs from a slow reference is the arithmetic.

    The first two know some of the old responses, and not all of any.
    """
    return [_model(tiny, steps) for steps in (3, 4, 0)]


def _model(tiny: Path, steps: int) -> LanguageModel:
    lm = load_model(tiny)
    lm.model.double()
    optimizer = torch.optim.Adam(lm.model.parameters(), lr=1e-2)
    batch = Batch.of([lm.format.encode(j.dialogue) for j in SETS.faulty])
    for _ in range(steps):
        loss = torch.nn.functional.cross_entropy(batch.logits(lm.model), batch.targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return lm


def case(models: list[LanguageModel], sets: Sets = SETS) -> Case:
    after, before, oracle = models
    return Case(after, before, oracle, sets, ())


def slow(lm: LanguageModel, row: Encoded) -> Iterator[tuple[float, list[float], int]]:
    """For each response token: log p of it, of every token, and which it is; one row at a time, in plain floats."""
    ids = row.prompt + row.response
    with torch.no_grad():
        logits = lm.model(torch.tensor([ids])).logits[0].tolist()
    for place, token in enumerate(row.response, start=len(row.prompt) - 1):
        top = max(logits[place])
        total = math.log(sum(math.exp(x - top) for x in logits[place])) + top
        log_p = [x - total for x in logits[place]]
        yield log_p[token], log_p, token


def average(values: list[float]) -> float:
    return sum(values) / len(values)


def slow_mean(lm: LanguageModel, dialogue: Dialogue) -> float:
    return average([log_p for log_p, _, _ in slow(lm, lm.format.encode(dialogue))])


def slow_greedy(lm: LanguageModel, dialogue: Dialogue) -> list[bool]:
    return [max(range(len(ps)), key=ps.__getitem__) == token for _, ps, token in slow(lm, lm.format.encode(dialogue))]


def slow_ratio(lm: LanguageModel, item: Judged) -> float:
    right = average([-slow_mean(lm, item.dialogue.answered(text)) for text in item.expected])
    return math.exp(slow_mean(lm, item.dialogue)) / math.exp(-right)


def by_key(measures: list[Measure]) -> dict[str, Measure]:
    return {m.key: m for m in measures}


def figures(measure: Measure) -> list[float]:
    return [e.value for e in (measure.after, measure.before, measure.oracle) if e is not None]
