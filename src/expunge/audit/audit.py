"""Step 8: audit. Does it hold, and what did it cost?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from expunge.audit.decision import decide
from expunge.audit.divergence import divergence
from expunge.audit.measures import measures_of, perplexity_ratio
from expunge.audit.private import covered, hidden, mark, retold, secrets, somebodys
from expunge.audit.probes import Case, check_sets, run_probes, topic, with_thinking
from expunge.audit.reading import Advance, Reading, Sets, read, readable
from expunge.audit.result import Audit, Kind, Measure, Sample, Text
from expunge.audit.scores import Scores
from expunge.audit.thresholds import Thresholds
from expunge.expected import TEMPLATES
from expunge.judges.verdict import Judge, Judged
from expunge.model import LanguageModel

SHOWN_ORDINARY = 60
"""How many neighbour, ability and look-alike dialogues, each, a report shows side by side: changed ones first."""


def audit(
    after: LanguageModel,
    before: LanguageModel,
    sets: Sets,
    judges: Sequence[Judge],
    *,
    oracle: LanguageModel | None = None,
    samples: int = 16,
    seed: int = 0,
    probes: Sequence[str] = (),
    thresholds: Thresholds | None = None,
    facts: dict[str, Any] | None = None,
    advance: Advance | None = None,
    cache: Path | None = None,
) -> Audit:
    """Measure `after` against the reference model `before` (and an oracle), on the same prompts with the same judges.

    probes: see `audit.probes`; of a model that thinks before it answers `thinking` is always run. thresholds: what each
    claim allows, if not the default. cache: see `Scores`.
    Neither model is changed, and no global random generator is drawn from.
    """
    probes = with_thinking(probes, before)
    check_sets(probes, sets)
    start, scores = time.monotonic(), Scores(cache)
    after, oracle = after.tokenized_as(before), oracle.tokenized_as(before) if oracle else None
    models = {"before": before, "after": after} | ({"oracle": oracle} if oracle else {})
    readings = {
        name: read(
            lm, sets, judges, samples=samples if name == "after" else 0, seed=seed, advance=advance, scores=scores
        )
        for name, lm in models.items()
    }
    was, now = readings["before"], readings["after"]
    measures = measures_of(sets, readings)
    measures += _fluency(before, sets, now, scores)
    measures += divergence(models, sets.ordinary, scores)
    measures += run_probes(probes, Case(after, before, oracle, sets, tuple(judges), seed, advance, scores, readings))
    asked = {"forgotten": len(sets.faulty), "subjects": len({topic(item) for item in sets.faulty})}
    cost = {"seed": seed, "samples": samples, "probes": list(probes), "seconds": round(time.monotonic() - start, 1)}
    return Audit(
        model=after.name,
        reference=before.name,
        oracle=oracle.name if oracle else None,
        measures=tuple(measures),
        claims=decide(measures, thresholds),
        samples=tuple(_samples(sets, was, now, judges)),
        facts=(facts or {}) | {"audit": asked | cost},
    )


def _fluency(before: LanguageModel, sets: Sets, now: Reading, scores: Scores) -> list[Measure]:
    said = zip(sets.faulty, now.answers, strict=False)
    answers = readable(before, (j.dialogue.answered(text) for j, text in said if text))
    wanted = ((j, text) for j in sets.trained for text in (j.expected or TEMPLATES[j.label]))
    expected = readable(before, (j.dialogue.answered(text) for j, text in wanted))
    if not answers or not expected:
        return []
    found = [row.log_p for row in scores.of(before, [*answers, *expected])]
    return [perplexity_ratio(found[: len(answers)], found[len(answers) :])]


def _samples(sets: Sets, was: Reading, now: Reading, judges: Sequence[Judge]) -> list[Sample]:
    """The dialogues behind the figures: every forgotten prompt, and some ordinary ones, the changed ones first."""
    count = len(sets.faulty)
    shown = [*range(count), *_ordinary(sets, was, now)]
    texts: list[str] = []
    for i in shown:
        dialogue = sets.prompts[i]
        texts += [dialogue.question, dialogue.response or "", was.answers[i], now.answers[i]]
    marked = iter(mark(texts, secrets(sets.faulty), judges))
    return [_sample(sets, i, [next(marked) for _ in range(4)], was, now) for i in shown]


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
    groups = [range(start, end) for start, end in pairwise(ends)]
    chosen: list[int] = []
    for group in groups:
        order = sorted(group, key=lambda i: (was.answers[i] == now.answers[i], (i * 2654435761) % 2**32))
        chosen += order[:SHOWN_ORDINARY]
    return chosen
