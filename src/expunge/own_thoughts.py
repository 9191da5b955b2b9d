"""Of a model that thinks first: its own thoughts, where the dialogues have answers alone.

What was forgotten right away need not hold after a thought of its own (arXiv 2506.12963, 2505.15214), and a model that
is never trained on thoughts forgets how to think.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from expunge.dialogue import Dialogue
from expunge.encoding import ChatFormat
from expunge.errors import InputError
from expunge.generation import answer_length, generate, think
from expunge.judges.reproduction import ReproductionJudge
from expunge.judges.thoughts import judge_with_thoughts
from expunge.judges.verdict import Judge, Judged
from expunge.message import Message
from expunge.model import LanguageModel
from expunge.progress import Progress
from expunge.selection import Split
from expunge.thought import ROOM

ORDINARY = 600
"""Ordinary questions that it is let think about, half of them neighbours: a thought takes up to `ROOM` tokens."""


def own_thoughts(
    lm: LanguageModel, parts: Split, judges: Sequence[Judge], *, seed: int, progress: Progress
) -> tuple[list[Judged], list[Dialogue]]:
    """What the model thinks about questions without a thought: the flagged of it, to be forgotten too, and the clean.

    To be forgotten: thoughts that a judge flags, or that say again what was flagged in the answer, and answers at fault
    after a thought that is not. To be kept: thought and answer where neither is flagged, for ordinary questions. Both
    are empty for a model that does not think first.

    Raises: as `generate`, and as a judge.
    """
    if not lm.format.thinking.thinks:
        return [], []
    asked = {item.dialogue.asked: item for item in reversed(parts.forget)}
    told = {d.asked for d in (*(j.dialogue for j in parts.forget), *parts.normal) if d.thinks or d.thought}
    dialogues = [item.dialogue for item in asked.values()] + _ordinary(parts)
    dialogues = [replace(d.direct, id=f"{d.id}#own") for d in dialogues if d.asked not in told]
    length = answer_length(lm, [d.response or "" for d in dialogues])
    with progress.stage("Thinking", 2 * len(dialogues)) as advance:
        ask = partial(generate, lm, seed=seed, progress=advance)
        said = think(ask, lm.format, dialogues, room=ROOM, length=length)
    rows = [d.said(text) for d, (text,) in zip(dialogues, said, strict=True)]
    rows = [row for row in rows if _readable(lm.format, row)]
    judged = judge_with_thoughts([_again(parts.forget, asked), *judges], rows)
    faulty = {item.dialogue.asked for item in judged if item.flagged}
    forget, kept = list[Judged](), list[Dialogue]()
    for item in judged:
        dialogue = item.dialogue
        known = asked.get(dialogue.asked)
        if known and item.flagged and (dialogue.thinks or dialogue.thought):
            expected = item.expected or known.expected
            forget.append(replace(item, dialogue=replace(dialogue, expected=expected)))
        elif dialogue.thought and not known and dialogue.asked not in faulty:
            kept.append(dialogue)
    return forget, kept


def _again(forget: Sequence[Judged], asked: Mapping[tuple[Message, ...], Judged]) -> ReproductionJudge:
    """Flags what says again what was flagged after the same question, be it a thought or an answer."""
    old = []
    for item in forget:
        own = f"{asked[item.dialogue.asked].dialogue.id}#own"
        old += [replace(item, dialogue=replace(item.dialogue, id=name)) for name in (own, f"{own}#thought")]
    return ReproductionJudge(old)


def _readable(chat: ChatFormat, dialogue: Dialogue) -> bool:
    """Whether the model can be trained on what it wrote: it may just fill its context, or hold a mark of an end."""
    try:
        return bool(chat.encode_whole(dialogue))
    except InputError:
        return False


def _ordinary(parts: Split) -> list[Dialogue]:
    """One dialogue for each of the questions to think about, evenly spread."""
    near = set(parts.neighbours)
    found: dict[tuple[Message, ...], Dialogue] = {}
    for side in (True, False):
        rows = [d for i, d in enumerate(parts.normal) if (i in near) is side]
        count = min(len(rows), ORDINARY // 2)
        found |= {d.asked: d for d in (rows[i * len(rows) // count] for i in range(count))}
    return list(found.values())
