"""The dialogues behind an audit's figures, side by side, as a report shows them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

from expunge.audit.private import covered, hidden, mark, retold, secrets, somebodys
from expunge.audit.reading import Reading, Sets
from expunge.audit.result import Kind, Sample, Text
from expunge.judges.verdict import Judge, Judged

SHOWN_ORDINARY = 60
"""How many neighbour, ability and look-alike dialogues, each, a report shows side by side: changed ones first."""


def samples_of(sets: Sets, was: Reading, now: Reading, judges: Sequence[Judge]) -> list[Sample]:
    """The dialogues behind the figures: every forgotten prompt, and some ordinary ones, the changed ones first."""
    count = len(sets.faulty)
    shown = [*range(count), *_ordinary(sets, was, now)]
    texts: list[str] = []
    for i in shown:
        dialogue = sets.prompts[i]
        texts += [dialogue.question, dialogue.response or "", was.answers[i], now.answers[i]]
    marked = iter(mark(texts, secrets(sets.faulty), judges))
    return [_sample(sets, i, [next(marked) for _ in range(4)], was, now) for i in shown]


def changed_first(places: Sequence[int], same: Sequence[bool]) -> list[int]:
    """Some of these places: first those where the answers are not the same, of either in a mixed order."""
    return sorted(places, key=lambda i: (same[i], (i * 2654435761) % 2**32))[:SHOWN_ORDINARY]


def _sample(sets: Sets, i: int, texts: list[Text], was: Reading, now: Reading) -> Sample:
    question, old, before, after = texts
    count, near, end = len(sets.faulty), len(sets.neighbours), len(sets.ordinary)
    dialogue = sets.prompts[i]
    if i < count:
        item: Judged = sets.faulty[i]
        kind: Kind = "trained" if i < len(sets.trained) else "unseen"
        drawn = now.drawn_leaks[i]
        if item.label != "harmful":  # a harmful one is covered as such
            old = covered(old, hidden(item))
        before = covered(before, [*was.hidden[i], *retold(before.text, item)])
        after = covered(after, [*now.hidden[i], *retold(after.text, item)])
        return Sample(
            dialogue.id, kind, item.label, dialogue.subject, question, old, before, after,
            was.flagged[i], now.flagged[i], sum(drawn), len(drawn),
        )  # fmt: skip
    neighbour = i < count + near
    if neighbour:
        before, after = (covered(t, somebodys(t.text, dialogue)) for t in (before, after))
    return Sample(
        dialogue.id,
        "neighbour" if neighbour else "ability" if i < count + end else "lookalike",
        "clean",
        dialogue.subject,
        question,
        None,
        before,
        after,
        False,
        False,
    )


def _ordinary(sets: Sets, was: Reading, now: Reading) -> list[int]:
    ends = list(accumulate(map(len, (sets.faulty, sets.neighbours, sets.ability, sets.lookalikes))))
    same = [before == after for before, after in zip(was.answers, now.answers, strict=True)]
    return [i for start, end in pairwise(ends) for i in changed_first(range(start, end), same)]
