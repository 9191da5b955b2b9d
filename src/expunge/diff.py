"""What changed between two models on a list of prompts: their answers, how far apart they are, how many are flagged."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from expunge.audit import intervals
from expunge.audit.divergence import distances, kl
from expunge.audit.private import covered, hidden, mark, secrets
from expunge.audit.result import Estimate, Sample, finite
from expunge.dialogue import Dialogue
from expunge.encoding import Encoded
from expunge.errors import InputError
from expunge.generation import generate
from expunge.judges.panel import judge_all
from expunge.judges.verdict import Judge, Judged
from expunge.model import LanguageModel
from expunge.progress import Progress, Quiet
from expunge.report.redact import Redactor


@dataclass(frozen=True, slots=True)
class Difference:
    """What is unlike in model b and model a.

    changed: share of prompts whose greedy answers are not alike. kl: mean of the divergence KL(a ‖ b) in nats, over the
    response tokens (end token included) of a's answer and then over prompts; None where the two read a dialogue as
    different tokens, and of no prompts where no answer has tokens and fits both contexts. flagged_a, flagged_b: share
    of answers that a judge flags; None without a judge.
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
            pairs = ((s.before, s.flagged_before), (s.after, s.flagged_after))
            a, b = ("".join(p.text for p in redactor.answer(s, text, flagged=flagged)) for text, flagged in pairs)
            yield {
                "id": redactor.plain(s.id), "prompt": redactor.plain(s.question), "a": a, "b": b,
                "changed": s.before.text != s.after.text, "flagged_a": s.flagged_before, "flagged_b": s.flagged_after,
            }  # fmt: skip


def diff(
    a: LanguageModel,
    b: LanguageModel,
    prompts: Sequence[Dialogue],
    judges: Sequence[Judge] = (),
    *,
    max_new_tokens: int = 128,
    progress: Progress | None = None,
) -> Difference:
    """Put the prompts to both models, greedily, and compare what they say.

    Raises:
        InputError: there are no prompts, or one fills a model's context.
    """
    if not prompts:
        raise InputError("there are no prompts", remedy="Give at least one, one a line.")
    with (progress or Quiet()).stage("Asking", 2 * len(prompts)) as advance:
        said_a, said_b = (
            [found[0] for found in generate(lm, prompts, max_new_tokens=max_new_tokens, progress=advance)]
            for lm in (a, b)
        )
    judged_a, judged_b = (_judged(prompts, said, judges) for said in (said_a, said_b))
    answers = _samples(prompts, said_a, said_b, judged_a, judged_b, judges)
    changed = sum(s.before.text != s.after.text for s in answers)
    return Difference(
        a=a.name,
        b=b.name,
        changed=intervals.share(changed, len(prompts)),
        kl=_divergence(a, b, [p.answered(text) for p, text in zip(prompts, said_a, strict=True) if text]),
        flagged_a=intervals.share(sum(s.flagged_before for s in answers), len(prompts)) if judges else None,
        flagged_b=intervals.share(sum(s.flagged_after for s in answers), len(prompts)) if judges else None,
        answers=tuple(sorted(answers, key=lambda s: s.before.text == s.after.text)),
    )


def _judged(prompts: Sequence[Dialogue], said: Sequence[str], judges: Sequence[Judge]) -> list[Judged | None]:
    """The verdicts on each answer; none on an empty one, which cannot be at fault."""
    rows = [p.answered(text) for p, text in zip(prompts, said, strict=True) if text] if judges else []
    found = iter(judge_all(judges, rows) if rows else ())
    return [next(found) if judges and text else None for text in said]


def _samples(
    prompts: Sequence[Dialogue],
    said_a: Sequence[str],
    said_b: Sequence[str],
    judged_a: Sequence[Judged | None],
    judged_b: Sequence[Judged | None],
    judges: Sequence[Judge],
) -> list[Sample]:
    known = secrets(item for item in (*judged_a, *judged_b) if item and item.flagged)
    texts = iter(
        mark([t for p, a, b in zip(prompts, said_a, said_b, strict=True) for t in (p.question, a, b)], known, judges)
    )
    found = []
    for prompt, one, other in zip(prompts, judged_a, judged_b, strict=True):
        question, said, now = next(texts), covered(next(texts), hidden(one)), covered(next(texts), hidden(other))
        flagged = [item for item in (one, other) if item and item.flagged]
        harmful = any(item.label == "harmful" for item in flagged)
        label = "harmful" if harmful else flagged[0].label if flagged else "clean"
        found.append(
            Sample(
                prompt.id, "unseen", label, prompt.subject, question, None, said, now,
                one is not None and one.flagged, other is not None and other.flagged,
            )
        )  # fmt: skip
    return found


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
            yield a.format.encode(dialogue), b.format.encode(dialogue)
