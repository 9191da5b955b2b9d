"""One shared pass a model: its answers and its likelihoods, from which every measure is taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from expunge.dialogue import Dialogue
from expunge.encoding import Encoded
from expunge.generation import answer_length, generate, token_log_probs
from expunge.judges.panel import judge_all
from expunge.judges.verdict import Judge, Judged
from expunge.model import LanguageModel

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Sets:
    """What an audit asks about.

    trained: the forget set as it was unlearned. unseen: the same things asked in words never trained on, with the
    undesirable responses. ability, neighbours: dialogues whose responses are right; `expected` lists other right ones.
    """

    trained: tuple[Judged, ...]
    unseen: tuple[Judged, ...] = ()
    ability: tuple[Dialogue, ...] = ()
    neighbours: tuple[Dialogue, ...] = ()

    @property
    def faulty(self) -> tuple[Judged, ...]:
        return (*self.trained, *self.unseen)

    @property
    def ordinary(self) -> tuple[Dialogue, ...]:
        return (*self.neighbours, *self.ability)

    @property
    def prompts(self) -> list[Dialogue]:
        return [*(j.dialogue for j in self.faulty), *self.ordinary]


@dataclass(frozen=True, slots=True)
class Reading:
    """What one model says. In the order of `Sets.prompts`: greedy answers, and whether a judge flags them (faulty ones
    only); samples and their flags for the faulty ones; log p of each old response's tokens.
    """

    answers: list[str]
    flagged: list[bool]
    sample_flags: list[list[bool]]
    old: list[torch.Tensor]


def encode_old(lm: LanguageModel, sets: Sets) -> list[Encoded]:
    return [lm.format.encode(j.dialogue, j.spans) for j in sets.faulty]


def read(
    lm: LanguageModel, sets: Sets, judges: Sequence[Judge], *, samples: int, seed: int, advance: Advance | None = None
) -> Reading:
    """Ask `lm` everything once. `samples` > 0 also draws that many answers to each faulty prompt at temperature 1."""
    faulty = [j.dialogue for j in sets.faulty]
    length = answer_length(lm, [d.response or "" for d in sets.prompts])
    answers = [a[0] for a in generate(lm, sets.prompts, max_new_tokens=length, progress=advance)]
    drawn: list[list[str]] = [[] for _ in faulty]
    if samples:
        short = answer_length(lm, [d.response or "" for d in faulty])
        drawn = generate(lm, faulty, max_new_tokens=short, samples=samples, seed=seed, progress=advance)
    texts = [[answer, *more] for answer, more in zip(answers, drawn, strict=False)]
    flags = _flags(faulty, texts, judges)
    old = token_log_probs(lm, encode_old(lm, sets))
    return Reading(answers, [f[0] for f in flags], [f[1:] for f in flags], old)


def _flags(dialogues: Sequence[Dialogue], texts: Sequence[Sequence[str]], judges: Sequence[Judge]) -> list[list[bool]]:
    """Whether any judge flags each answer; an empty answer cannot be at fault."""
    rows = [(i, k, text) for i, given in enumerate(texts) for k, text in enumerate(given) if text]
    judged = judge_all(judges, [dialogues[i].answered(text) for i, _, text in rows])
    flags = [[False] * len(given) for given in texts]
    for (i, k, _), verdict in zip(rows, judged, strict=True):
        flags[i][k] = verdict.flagged
    return flags
