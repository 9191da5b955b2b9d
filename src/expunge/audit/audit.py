"""Step 8: audit. Does it hold, and what did it cost?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from expunge.audit.decision import decide
from expunge.audit.divergence import divergence
from expunge.audit.measures import measures_of, perplexity_ratio
from expunge.audit.probes import Case, check_sets, run_probes, topic, with_thinking
from expunge.audit.reading import Advance, Reading, Sets, read, readable
from expunge.audit.result import Audit, Measure
from expunge.audit.samples import samples_of
from expunge.audit.scores import Scores
from expunge.audit.thresholds import Thresholds
from expunge.expected import TEMPLATES
from expunge.judges.verdict import Judge
from expunge.model import LanguageModel


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
    case = Case(after, before, oracle, sets, tuple(judges), seed, advance, scores, readings)
    measures += run_probes(probes, case)
    asked = {
        "forgotten": len(sets.faulty),
        "subjects": len({topic(item) for item in sets.faulty}),
        "judges": [f"{judge.name} {judge.version}" for judge in judges],
    }
    cost = {"seed": seed, "samples": samples, "probes": list(probes), "seconds": round(time.monotonic() - start, 1)}
    return Audit(
        model=after.name,
        reference=before.name,
        oracle=oracle.name if oracle else None,
        measures=tuple(measures),
        claims=decide(measures, thresholds),
        samples=(*samples_of(sets, was, now, judges), *case.samples),
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
