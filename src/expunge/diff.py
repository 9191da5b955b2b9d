"""What changed between two models on a list of prompts: their answers, how far apart they are, how many are flagged."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from expunge.audit import intervals
from expunge.audit.divergence import distances, kl
from expunge.audit.private import covered, hidden, mark, secrets
from expunge.audit.result import Estimate, Sample, Thoughts, finite
from expunge.dialogue import Dialogue
from expunge.encoding import Encoded
from expunge.errors import InputError
from expunge.generation import generate, think
from expunge.judges.panel import judge_all
from expunge.judges.verdict import Judge, Judged
from expunge.model import LanguageModel
from expunge.progress import Advance, Progress, Quiet
from expunge.report.redact import Redactor
from expunge.thought import ROOM, apart


@dataclass(frozen=True, slots=True)
class Difference:
    """What is unlike in model b and model a.

    changed: share of prompts whose greedy answers are not alike. kl: mean of the divergence KL(a ‖ b) in nats, over the
    tokens (end token included) of a's thought, if it was let think, and answer, and then over prompts; None where the
    two read a dialogue as different tokens, and of no prompts where no answer has tokens and fits both contexts.
    flagged_a, flagged_b: share of prompts after which a judge flags the thought or the answer; None without a judge.
    answers: every prompt with both answers, `before` a's and `after` b's, the changed ones first.
    """

    a: str
    b: str
    changed: Estimate
    kl: Estimate | None
    flagged_a: Estimate | None
    flagged_b: Estimate | None
    answers: tuple[Sample, ...]

    def row(self, *, reveal: bool = False) -> dict[str, Any]:
        """As JSON, private characters and flagged harmful answers covered (or not, with `reveal`)."""
        figures = {name: getattr(self, name) for name in ("changed", "kl", "flagged_a", "flagged_b")}
        estimates = {name: finite(asdict(e)) if e else None for name, e in figures.items()}
        return {"a": self.a, "b": self.b} | estimates | {"answers": list(self.rows(reveal=reveal))}

    def rows(self, *, reveal: bool = False) -> Iterator[dict[str, Any]]:
        """The prompts with both answers, as one object each."""
        redactor = Redactor.of(self.answers, reveal=reveal)
        for s in self.answers:
            said = {"a": (s.before, s.flagged_before), "b": (s.after, s.flagged_after)}
            if s.thoughts:  # one that led to a harmful answer is covered as that is
                said["thought_a"] = s.thoughts.before, s.was_faulty
                said["thought_b"] = s.thoughts.after, s.is_faulty
            texts = {name: "".join(p.text for p in redactor.answer(s, t, flagged=f)) for name, (t, f) in said.items()}
            yield {
                "id": redactor.plain(s.id), "prompt": redactor.plain(s.question), **texts,
                "changed": s.before.text != s.after.text, "flagged_a": s.was_faulty, "flagged_b": s.is_faulty,
            }  # fmt: skip


def diff(
    a: LanguageModel,
    b: LanguageModel,
    prompts: Sequence[Dialogue],
    judges: Sequence[Judge] = (),
    *,
    max_new_tokens: int = 128,
    thinking: int = ROOM,
    progress: Progress | None = None,
) -> Difference:
    """Put the prompts to both models, greedily, and compare what they say.

    thinking: tokens that a model which thinks first may think for; 0: it is made to answer right away.

    Raises:
        InputError: there are no prompts, or one fills a model's context.
    """
    if not prompts:
        raise InputError("there are no prompts", remedy="Give at least one, one a line.")
    prompts = [p.direct for p in prompts]
    think_first = [bool(thinking) and lm.format.thinking.thinks for lm in (a, b)]
    with (progress or Quiet()).stage("Asking", (2 + sum(think_first)) * len(prompts)) as advance:
        said_a, said_b = (
            _said(lm, prompts, length=max_new_tokens, thinking=thinking if first else 0, advance=advance)
            for lm, first in zip((a, b), think_first, strict=True)
        )
    judged_a, judged_b = (_judged(said, judges) for said in (said_a, said_b))
    answers = _samples(said_a, said_b, judged_a, judged_b, judges, thoughts=any(think_first))
    changed = sum(s.before.text != s.after.text for s in answers)
    return Difference(
        a=a.name,
        b=b.name,
        changed=intervals.share(changed, len(prompts)),
        kl=_divergence(a, b, [d for d in said_a if d.response]),
        flagged_a=intervals.share(sum(s.was_faulty for s in answers), len(prompts)) if judges else None,
        flagged_b=intervals.share(sum(s.is_faulty for s in answers), len(prompts)) if judges else None,
        answers=tuple(sorted(answers, key=lambda s: s.before.text == s.after.text)),
    )


def _said(
    lm: LanguageModel, prompts: Sequence[Dialogue], *, length: int, thinking: int, advance: Advance
) -> list[Dialogue]:
    """Each prompt with the model's answer, after its thought if it was let think."""
    ask = partial(generate, lm, progress=advance)
    if not thinking:
        return [p.answered(text) for p, (text,) in zip(prompts, ask(prompts, max_new_tokens=length), strict=True)]
    texts = (apart(text) for (text,) in think(ask, lm.format, prompts, room=thinking, length=length))
    return [p.after(thought).answered(answer) for p, (thought, answer) in zip(prompts, texts, strict=True)]


Verdicts = tuple[Judged | None, Judged | None]
"""On a thought and on the answer after it; none on an empty one, which cannot be at fault."""


def _judged(said: Sequence[Dialogue], judges: Sequence[Judge]) -> list[Verdicts]:
    parts = [(d.thought, d if d.response else None) for d in said]
    rows = [part for pair in parts for part in pair if part] if judges else []
    found = iter(judge_all(judges, rows) if rows else ())
    return [(next(found) if t and judges else None, next(found) if d and judges else None) for t, d in parts]


def _samples(
    said_a: Sequence[Dialogue],
    said_b: Sequence[Dialogue],
    judged_a: Sequence[Verdicts],
    judged_b: Sequence[Verdicts],
    judges: Sequence[Judge],
    *,
    thoughts: bool,
) -> list[Sample]:
    verdicts = [(*a, *b) for a, b in zip(judged_a, judged_b, strict=True)]
    known = secrets(item for four in verdicts for item in four if item and item.flagged)
    both = list(zip(said_a, said_b, strict=True))
    marked = iter(mark([t for a, b in both for t in (a.question, *_texts(a), *_texts(b))], known, judges))
    found = []
    for (dialogue, _), four in zip(both, verdicts, strict=True):
        question = next(marked)
        thought_a, said, thought_b, now = (covered(next(marked), hidden(item)) for item in four)
        faulty = [item for item in four if item and item.flagged]
        harmful = any(item.label == "harmful" for item in faulty)
        label = "harmful" if harmful else faulty[0].label if faulty else "clean"
        flags = [item is not None and item.flagged for item in four]
        told = Thoughts(None, thought_a, thought_b, flags[0], flags[2]) if thoughts else None
        found.append(
            Sample(
                dialogue.id, "unseen", label, dialogue.subject, question, None, said, now, flags[1], flags[3],
                thoughts=told,
            )
        )  # fmt: skip
    return found


def _texts(said: Dialogue) -> tuple[str, str]:
    """Thought and answer."""
    return (said.thought.response or "") if said.thought else "", said.response or ""


def _divergence(a: LanguageModel, b: LanguageModel, answered: Sequence[Dialogue]) -> Estimate | None:
    rows = list(_encoded(a, b, answered))
    if a.vocabulary != b.vocabulary or any(one != other for one, other in rows):
        return None
    (values,) = distances([(kl, a, b)], [row for row, _ in rows])
    return intervals.mean(values) if values else Estimate(math.nan, math.nan, math.nan, 0)


def _encoded(a: LanguageModel, b: LanguageModel, answered: Sequence[Dialogue]) -> Iterator[tuple[Encoded, Encoded]]:
    """Each dialogue as either model reads it; one that does not fit their contexts, with its end token, is left out."""
    for dialogue in answered:
        with contextlib.suppress(InputError):
            yield a.format.encode_whole(dialogue), b.format.encode_whole(dialogue)
