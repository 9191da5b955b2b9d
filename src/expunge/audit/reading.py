"""One shared pass a model: its answers and its likelihoods, from which every measure is taken."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from random import Random

import torch

from expunge.audit.private import hidden
from expunge.audit.scores import Scores
from expunge.dialogue import Dialogue
from expunge.encoding import Encoded
from expunge.errors import InputError
from expunge.generation import answer_length, generate, leading
from expunge.judges.panel import judge_all
from expunge.judges.reproduction import ReproductionJudge
from expunge.judges.thoughts import with_thoughts
from expunge.judges.verdict import Judge, Judged
from expunge.model import LanguageModel
from expunge.span import Span

Advance = Callable[[int], None]

LET_THINK = 512
"""On how many ordinary dialogues, at most, a model is let think, for thoughts are long. The 95 % interval of a share of
so many reaches 4.4 points below it at most: a model that lost nothing can be shown to be within 5 points, whatever its
share. Of 400 it cannot, where half of the answers are right."""


@dataclass(frozen=True, slots=True)
class Sets:
    """What an audit asks about.

    trained: the forget set as it was unlearned. unseen: the same things asked in words never trained on, with the
    undesirable responses. ability, neighbours: dialogues whose responses are right; `expected` lists other right ones.
    holdout: dialogues like the forgotten ones that no model was trained on; some probes compare with them.
    lookalikes: harmless prompts that look like the forgotten ones; their responses, where there are some, are right.
    """

    trained: tuple[Judged, ...]
    unseen: tuple[Judged, ...] = ()
    ability: tuple[Dialogue, ...] = ()
    neighbours: tuple[Dialogue, ...] = ()
    holdout: tuple[Dialogue, ...] = ()
    lookalikes: tuple[Dialogue, ...] = ()

    @property
    def faulty(self) -> tuple[Judged, ...]:
        return (*self.trained, *self.unseen)

    @property
    def phrasings(self) -> list[tuple[str, range]]:
        """Places in `faulty`, by the words that are asked in: "trained" and "unseen", where there are some."""
        trained, every = len(self.trained), len(self.faulty)
        return [(k, places) for k, places in (("trained", range(trained)), ("unseen", range(trained, every))) if places]

    @property
    def ordinary(self) -> tuple[Dialogue, ...]:
        return (*self.neighbours, *self.ability)

    @property
    def let_think(self) -> list[int]:
        """Places in `ordinary` of the dialogues that a model is let think on, evenly spread over neighbours and over
        each skill: one of each few that stand together, drawn, since every fourth may well be of one kind."""
        near = len(self.neighbours)
        places = sorted(range(len(self.ordinary)), key=lambda i: (i >= near, i >= near and self.ordinary[i].skill))
        total, count = len(places), min(len(places), LET_THINK)
        random = Random(0)
        return sorted(places[random.randrange(i * total // count, (i + 1) * total // count)] for i in range(count))

    @property
    def prompts(self) -> list[Dialogue]:
        return [*(j.dialogue for j in self.faulty), *self.ordinary, *self.lookalikes]


@dataclass(frozen=True, slots=True)
class Reading:
    """What one model says.

    answers: greedy, in the order of `Sets.prompts`. flagged: whether a judge flags them, faulty prompts only.
    drawn_flagged, drawn_leaks: for each sample to each faulty prompt, whether a judge flags it (nothing where there
        is none), and whether it says again what was flagged. old: log p of each old response's tokens, as the model's
        own tokenizer has them; at_fault: of those at fault alone. hidden: what of the greedy answers to faulty
        prompts a report must not show.
    """

    answers: list[str]
    flagged: list[bool]
    drawn_flagged: list[list[bool]]
    drawn_leaks: list[list[bool]]
    old: list[torch.Tensor]
    at_fault: list[torch.Tensor]
    hidden: list[tuple[Span, ...]]


def encode_old(lm: LanguageModel, items: Iterable[Judged]) -> list[Encoded]:
    """Forgotten dialogues with their old responses, and what of these is at fault."""
    return [lm.format.encode(item.dialogue, item.spans) for item in items]


def readable(lm: LanguageModel, dialogues: Iterable[Dialogue]) -> list[Encoded]:
    """Dialogues with their responses, without those that the model cannot read: too long, or with no response."""
    rows = []
    for dialogue in dialogues:
        with contextlib.suppress(InputError):
            rows.append(lm.format.encode(dialogue))
    return rows


def read(
    lm: LanguageModel,
    sets: Sets,
    judges: Sequence[Judge],
    *,
    samples: int,
    seed: int,
    advance: Advance | None = None,
    scores: Scores | None = None,
    guesses: Sequence[str] = (),
) -> Reading:
    """Ask `lm` everything once. `samples` > 0 also draws that many answers to each faulty prompt at temperature 1.

    scores: where likelihoods are kept for others to use. guesses: what the greedy answers may well be, for speed alone;
    default: the dialogues' responses.
    """
    scores = scores or Scores()
    faulty = [j.dialogue for j in sets.faulty]
    length = answer_length(lm, [d.response or "" for d in sets.prompts])
    starts = _starts(lm, sets.prompts, guesses or [d.response or "" for d in sets.prompts], scores)
    said = [a[0] for a in generate(lm, sets.prompts, max_new_tokens=length, starts=starts, progress=advance)]
    answers = _answers(lm, sets, said)
    drawn: list[list[str]] = [[] for _ in faulty]
    if samples:
        short = answer_length(lm, [d.response or "" for d in faulty])
        drawn = generate(lm, faulty, max_new_tokens=short, samples=samples, seed=seed, progress=advance)
    texts = [[text, *more] for text, more in zip(said, drawn, strict=False)]
    judged = _judge(faulty, texts, [ReproductionJudge(sets.faulty), *judges])
    flagged = [[any(item.flagged for item in parts) for parts in row] for row in judged]
    leaks = [[any(item.verdicts[0].flagged for item in parts) for parts in row] for row in judged]
    rows = encode_old(lm, sets.faulty)
    old = [row.log_p for row in scores.of(lm, rows)]
    at_fault = [log_p[torch.tensor(row.fault)] for log_p, row in zip(old, rows, strict=True)]
    drawn_leaks = [row[1:] for row in leaks]
    drawn_flagged = [row[1:] if judges else [] for row in flagged]
    first = [row[0] for row in flagged]
    covered = [
        hidden(next((item for item in reversed(row[0]) if item.dialogue.response == answer), None))
        for row, answer in zip(judged, answers, strict=False)
    ]
    return Reading(answers, first, drawn_flagged, drawn_leaks, old, at_fault, covered)


def _answers(lm: LanguageModel, sets: Sets, texts: Sequence[str]) -> list[str]:
    """What a model said, without what it thought first though its template did not ask it to."""
    said = [d.said(text) if text else d.answered(text) for d, text in zip(sets.prompts, texts, strict=True)]
    thinking = [new.thinks and not old.thinks for new, old in zip(said, sets.prompts, strict=True)]
    if sum(thinking) > len(thinking) / 2:
        raise InputError(
            f"the model {lm.name!r} was still thinking when most of its answers were cut off: nothing can be judged",
            remedy="Give a template (--template FILE) that writes <think></think> before a response: it answers then.",
        )
    return [dialogue.response or "" for dialogue in said]


def _starts(
    lm: LanguageModel, dialogues: Sequence[Dialogue], guesses: Sequence[str], scores: Scores
) -> list[tuple[int, ...]]:
    """How far each guess is the model's greedy answer, as token ids."""
    rows: dict[int, Encoded] = {}
    for i, (dialogue, guess) in enumerate(zip(dialogues, guesses, strict=True)):
        with contextlib.suppress(InputError):  # one that cannot be encoded with its prompt is no guess
            rows[i] = lm.format.encode(dialogue.answered(guess))
    found = zip(rows, scores.of(lm, list(rows.values())), strict=True)
    known = {i: rows[i].response[: leading(row.greedy)] for i, row in found}
    return [known.get(i, ()) for i in range(len(dialogues))]


def _judge(
    dialogues: Sequence[Dialogue], texts: Sequence[Sequence[str]], judges: Sequence[Judge]
) -> list[list[list[Judged]]]:
    """The verdicts on each answer, and on what was thought first; none on an empty one, which cannot be at fault."""
    said = [(i, k, dialogues[i].said(text)) for i, given in enumerate(texts) for k, text in enumerate(given) if text]
    # A thought has an id of its own, by which nothing was flagged.
    rows = [(i, k, replace(part, id=whole.id)) for i, k, whole in said for part in with_thoughts([whole])]
    found: list[list[list[Judged]]] = [[[] for _ in given] for given in texts]
    for (i, k, _), item in zip(rows, judge_all(judges, [row for _, _, row in rows]), strict=True):
        found[i][k].append(item)
    return found
