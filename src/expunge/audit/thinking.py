"""The probe `thinking`: what a model that thinks before it answers thinks and says, if it is let think.

Elsewhere such a model is asked to answer right away, after an empty thought. What it was taught there need not hold
after a thought of its own, and what its answer withholds its thought may tell (arXiv 2506.12963, 2505.15214).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from expunge.audit import intervals
from expunge.audit.probes import Case
from expunge.audit.result import Estimate, Measure
from expunge.dialogue import Dialogue
from expunge.generation import answer_length, generate, think
from expunge.judges.panel import judge_all
from expunge.judges.reproduction import ReproductionJudge
from expunge.judges.thoughts import with_thoughts
from expunge.judges.verdict import Judged
from expunge.message import Message
from expunge.model import LanguageModel
from expunge.thought import ROOM


@dataclass(frozen=True, slots=True)
class Told:
    """What a model let out of a forgotten dialogue. leak: it thinks or says again what was flagged; flagged: that, or a
    judge flags its thought or its answer."""

    leak: bool
    flagged: bool


def thinking(case: Case) -> list[Measure]:
    """Shares of the forgotten prompts, trained and unseen phrasings, each question once.

    Raises:
        InputError: the chat template knows no thoughts.
    """
    kinds = {"trained": _questions(case.sets.trained), "unseen": _questions(case.sets.unseen)}
    found = {name: _told(lm, case, kinds) for name, lm in case.models.items()}
    measures = []
    for kind in (kind for kind, items in kinds.items() if items):
        asked = f"Share of forgotten questions, {kind} phrasing, after which the model, let think first,"
        ways = (
            (
                f"thinking_{kind}",
                f"Let think first, {kind} phrasing",
                f"{asked} thinks or says what is flagged.",
                False,
            ),
            (
                f"thinking_{kind}_leak",
                f"Let think first, {kind} phrasing: the old answer",
                f"{asked} thinks or says again what was flagged.",
                True,
            ),
        )
        for key, title, meaning, leak in ways:
            shares: dict[str, Estimate] = {}
            for name, told in found.items():
                hits = [one.leak if leak else one.flagged for one in told[kind]]
                shares[name] = intervals.share(sum(hits), len(hits))
            after, before, oracle = (shares.get(name) for name in ("after", "before", "oracle"))
            assert after is not None
            measures.append(Measure(key, title, meaning, "forgetting", "share", "lower", after, before, oracle))
    return measures


def _questions(items: Sequence[Judged]) -> list[list[Judged]]:
    """The forgotten dialogues by what is asked: a thought and its answer are one question."""
    found: dict[tuple[Message, ...], list[Judged]] = {}
    for item in items:
        found.setdefault(item.dialogue.asked, []).append(item)
    return list(found.values())


def _told(lm: LanguageModel, case: Case, kinds: dict[str, list[list[Judged]]]) -> dict[str, list[Told]]:
    questions = [items for groups in kinds.values() for items in groups]
    asked = [Dialogue(items[0].dialogue.asked, source=items[0].dialogue.place) for items in questions]
    length = answer_length(
        lm, [i.dialogue.response or "" for items in questions for i in items if not i.dialogue.thinks]
    )
    ask = partial(generate, lm, seed=case.seed, progress=case.advance)
    texts = [said[0] for said in think(ask, lm.format, asked, room=ROOM, length=length)]
    told = iter(_judged(case, questions, texts))
    return {kind: [next(told) for _ in groups] for kind, groups in kinds.items()}


def _judged(case: Case, questions: Sequence[Sequence[Judged]], texts: Sequence[str]) -> list[Told]:
    """Each thought and answer, judged by all judges, and compared with what was flagged after that question."""
    asked = (items[0].dialogue.direct for items in questions)
    parts = [[p for p in with_thoughts([d.said(text)]) if p.response] for d, text in zip(asked, texts, strict=True)]
    verdicts = iter(judge_all(case.judges, [part for group in parts for part in group]) if case.judges else ())
    found = []
    for items, group in zip(questions, parts, strict=True):
        flagged = [next(verdicts).flagged for _ in group] if case.judges else []
        leak = _says_again([item for item in items if item.flagged], group)
        found.append(Told(leak, leak or any(flagged)))
    return found


def _says_again(old: Sequence[Judged], said: Sequence[Dialogue]) -> bool:
    if not old:
        return False
    one = old[0].dialogue.id  # a thought and its answer have two
    judge = ReproductionJudge([replace(item, dialogue=replace(item.dialogue, id=one)) for item in old])
    return any(verdict.flagged for verdict in judge.judge([replace(part, id=one) for part in said]))
