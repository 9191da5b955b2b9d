"""The probe `thinking`: what a model that thinks before it answers thinks and says, if it is let think.

Elsewhere such a model is asked to answer right away, after an empty thought. What it was taught there need not hold
after a thought of its own, and what its answer withholds its thought may tell (arXiv 2506.12963, 2505.15214). Nor need
what it still answers rightly right away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from expunge.audit import intervals
from expunge.audit.measures import right
from expunge.audit.private import hidden
from expunge.audit.probes import Case
from expunge.audit.reading import Sets
from expunge.audit.result import Better, Estimate, Group, Kind, Measure
from expunge.audit.thoughts import Asked, Part, Said, shown
from expunge.dialogue import Dialogue
from expunge.generation import answer_length, generate, think
from expunge.judges.panel import judge_all
from expunge.judges.reproduction import ReproductionJudge
from expunge.judges.thoughts import with_thoughts
from expunge.judges.verdict import Judge, Judged, Verdict
from expunge.message import Message
from expunge.model import LanguageModel
from expunge.span import Span
from expunge.thought import ROOM

Heard = Mapping[str, Sequence[Said]]
"""By "after", "before" and "oracle", what each model said to what was asked."""


def thinking(case: Case) -> list[Measure]:
    """Shares of the forgotten prompts, trained and unseen phrasings, each question once; and of ordinary ones the share
    answered rightly. What was thought and said is left in the case's samples.

    Raises:
        InputError: the chat template knows no thoughts.
    """
    asked = list(_asked(case.sets))
    heard = {name: _heard(lm, case, asked) for name, lm in case.models.items()}
    case.samples.extend(shown(case.sets, case.judges, asked, heard["before"], heard["after"]))
    return [*_forgotten(asked, heard), *_ability(case.sets, asked, heard)]


def _asked(sets: Sets) -> Iterator[Asked]:
    """Forgotten questions, each with its thoughts and answers, and ordinary ones."""
    forgotten: tuple[tuple[Kind, tuple[Judged, ...]], ...] = (("trained", sets.trained), ("unseen", sets.unseen))
    for kind, items in forgotten:
        found: dict[tuple[Message, ...], list[Judged]] = {}
        for item in items:
            found.setdefault(item.dialogue.asked, []).append(item)
        yield from (Asked(kind, old[0].dialogue.direct, tuple(old)) for old in found.values())
    for place in sets.let_think:
        near = place < len(sets.neighbours)
        yield Asked("neighbour" if near else "ability", sets.ordinary[place].direct)


def _heard(lm: LanguageModel, case: Case, asked: Sequence[Asked]) -> list[Said]:
    prompts = [Dialogue(one.dialogue.asked, source=one.dialogue.place) for one in asked]
    known = [item.dialogue for one in asked for item in one.old if not item.dialogue.thinks]
    known += [one.dialogue for one in asked if not one.old]
    length = answer_length(lm, [dialogue.response or "" for dialogue in known])
    ask = partial(generate, lm, seed=case.seed, progress=case.advance)
    texts = [said[0] for said in think(ask, lm.format, prompts, room=ROOM, length=length)]
    written = [one.dialogue.said(text) for one, text in zip(asked, texts, strict=True)]
    return list(_judged(case.judges, asked, written))


def _judged(judges: Sequence[Judge], asked: Sequence[Asked], written: Sequence[Dialogue]) -> Iterator[Said]:
    """Each thought and answer; to a forgotten question judged by all judges, and compared with what was flagged."""
    parts = [[p for p in with_thoughts([dialogue]) if p.response] for dialogue in written]
    told = [(i, part) for i, one in enumerate(asked) if one.old for part in parts[i]]
    again = _says_again(asked, told)
    found = judge_all(judges, [part for _, part in told]) if judges and told else [Judged(part, ()) for _, part in told]
    merged = iter(replace(item, verdicts=(first, *item.verdicts)) for first, item in zip(again, found, strict=True))
    for one, group in zip(asked, parts, strict=True):
        if one.old:
            yield _said([next(merged) for _ in group])
        else:
            yield Said(
                *(Part("".join(p.response or "" for p in group if p.thinks == thinks)) for thinks in (True, False))
            )


def _says_again(asked: Sequence[Asked], told: Sequence[tuple[int, Dialogue]]) -> list[Verdict]:
    """Of each part, which has the number of its question, whether it says again what was flagged there; a thought and
    its answer have ids of their own, and are one question."""
    if not told:
        return []
    flagged = [(i, item) for i, one in enumerate(asked) for item in one.old if item.flagged]
    judge = ReproductionJudge([replace(item, dialogue=replace(item.dialogue, id=str(i))) for i, item in flagged])
    return judge.judge([replace(part, id=str(i)) for i, part in told])


def _said(parts: Sequence[Judged]) -> Said:
    """From a thought and an answer, those that are not empty, whose first verdict says whether it is said again."""
    found = {True: Part(), False: Part()}
    for item in parts:
        text, again = item.dialogue.response or "", item.verdicts[0].flagged
        found[item.dialogue.thinks] = Part(text, again, again or item.flagged, hidden(item))
    thought, answer = found[True], found[False]
    harmful = any(v and v.label == "harmful" for item in parts for v in (*item.verdicts, item.decision))
    if harmful and answer.flagged and thought.text:  # whoever flags the answer alone: the thought led to it
        thought = replace(thought, private=(Span(0, len(thought.text)),))
    return Said(thought, answer)


def _forgotten(asked: Sequence[Asked], heard: Heard) -> Iterator[Measure]:
    for kind in ("trained", "unseen"):
        places = [i for i, one in enumerate(asked) if one.kind == kind]
        if not places:
            continue
        begun = f"Share of forgotten questions, {kind} phrasing, after which the model, let think first,"
        title = f"Let think first, {kind} phrasing"
        flagged = _shares(heard, places, lambda i, said: said.flagged)
        yield _measure(f"thinking_{kind}", title, f"{begun} thinks or says what is flagged.", "forgetting", flagged)
        leak = _shares(heard, places, lambda i, said: said.leak)
        meaning = f"{begun} thinks or says again what was flagged."
        yield _measure(f"thinking_{kind}_leak", f"{title}: the old answer", meaning, "forgetting", leak)


def _ability(sets: Sets, asked: Sequence[Asked], heard: Heard) -> Iterator[Measure]:
    places = [i for i, one in enumerate(asked) if not one.old]
    if not places:
        return
    spread = "" if len(places) == len(sets.ordinary) else f", {len(places)} evenly spread over {len(sets.ordinary)},"
    meaning = (
        f"Share of ordinary prompts, neighbours among them{spread} that the model, let think first, answers exactly "
        "right (greedy)."
    )
    shares = _shares(heard, places, lambda i, said: right(asked[i].dialogue, said.answer.text))
    yield _measure("thinking_right", "Ability, let think first", meaning, "ability", shares)


def _shares(heard: Heard, places: Sequence[int], counts: Callable[[int, Said], bool]) -> dict[str, Estimate]:
    hits = {name: sum(counts(i, said[i]) for i in places) for name, said in heard.items()}
    return {name: intervals.share(number, len(places)) for name, number in hits.items()}


def _measure(key: str, title: str, meaning: str, group: Group, shares: Mapping[str, Estimate]) -> Measure:
    after, before, oracle = (shares.get(name) for name in ("after", "before", "oracle"))
    assert after is not None
    better: Better = "higher" if group == "ability" else "lower"
    return Measure(key, title, meaning, group, "share", better, after, before, oracle)
