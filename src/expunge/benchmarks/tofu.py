"""TOFU (Maini et al. 2024, arXiv 2401.06121): made-up authors, some of them to be forgotten."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from expunge.audit.gradients import gradient_norms
from expunge.audit.likelihood import extraction_strength, forget_quality, mean_log_p
from expunge.audit.membership import attacks, measures_of, parted
from expunge.audit.result import Better, Group, Measure
from expunge.audit.rouge import rouge_recall
from expunge.benchmarks.result import Figures, Models, Result, mean
from expunge.benchmarks.rows import Item, Source
from expunge.benchmarks.utility import utility
from expunge.dialogue import Dialogue
from expunge.generation import generate, leading
from expunge.model import LanguageModel

HUB = "locuslab/TOFU"
Split = Literal["forget01", "forget05", "forget10"]
ANSWER = 200
"""Tokens of an answer at most, as in OpenUnlearning (arXiv 2506.12618)."""

KEPT = {"retain": "retain rows", "real_authors": "real authors", "world_facts": "world facts"}
_CHOSEN = ("real_authors", "world_facts")
_MEANINGS = {
    "probability": "exp of the mean log-probability of the answer's tokens (end token too) under teacher forcing",
    "chosen": "Probability of the right answer over the sum with the wrong ones', each per token",
    "rouge": f"Share of the right answer's words that the greedy one says ({ANSWER} tokens at most), in their order",
    "alike": "min(R, 1/R), R the wrong answers' probability per token over that of the paraphrased right one",
    "preferred": "max(0, 1 − R), R the wrong answers' probability per token over that of the (paraphrased) right one",
    "exact_memorization": "Share of the answer's tokens that are the likeliest one after those before them",
    "extraction_strength": "Share of the answer that follows greedily, to its end, from the rest before it",
}


@dataclass(frozen=True, slots=True)
class Question:
    """A row: the dialogue with its answer, the right answer in other words (or the same), and wrong ones."""

    dialogue: Dialogue
    right: Dialogue
    wrong: tuple[Dialogue, ...]


@dataclass(frozen=True, slots=True)
class Sets:
    """What TOFU asks: `forget`, and by name the sets of `KEPT`; holdout: rows that no model saw, perhaps none."""

    forget: tuple[Question, ...]
    kept: Mapping[str, tuple[Question, ...]]
    holdout: tuple[Dialogue, ...]


def parse(item: Item) -> Question:
    """Read a row of any of the `…_perturbed` parts.

    Raises:
        InputError: a column is missing or holds no text.
    """
    dialogue = item.asked(item.text("question"), item.text("answer"))
    paraphrased = item.values.get("paraphrased_answer") is not None
    right = dialogue.answered(item.text("paraphrased_answer")) if paraphrased else dialogue
    return Question(dialogue, right, tuple(dialogue.answered(text) for text in item.texts("perturbed_answer")))


def read(source: Source, split: Split) -> Sets:
    """The rows of a split; the holdout set is that of the same size, left out where a folder has none.

    Raises:
        InputError: a part is missing or a row cannot be read.
    """
    holdout = split.replace("forget", "holdout")
    unseen = [] if source.lacks(holdout) else source.items(holdout, "train")
    return Sets(
        _questions(source, f"{split}_perturbed"),
        {name: _questions(source, f"{name}_perturbed") for name in KEPT},
        tuple(item.asked(item.text("question"), item.text("answer")) for item in unseen),
    )


def _questions(source: Source, config: str) -> tuple[Question, ...]:
    return tuple(parse(item) for item in source.items(config, "train"))


def tofu(models: Models, sets: Sets, *, split: Split) -> Result:
    """TOFU's figures of a model and, where there is one, of the oracle."""
    parts = [sets.forget, *sets.kept.values()]
    forget, *others = _by_part({name: _figures(models, lm, parts) for name, lm in models.named.items()})
    kept = dict(zip(sets.kept, others, strict=True))
    measures = [
        *_part("forget", "forget rows", "forgetting", "lower", forget),
        *(m for part, found in kept.items() for m in _part(part, KEPT[part], "ability", "higher", found)),
        _utility(kept),
    ]
    if models.oracle:
        quality = forget_quality(forget["after"]["log_ratio"], forget["oracle"]["log_ratio"])
        meaning = (
            "p of a two-sample Kolmogorov–Smirnov test between the truth ratios of the forget rows and the oracle's: "
            "near 0 where they differ. A p-value has no interval."
        )
        title = "Forget quality"
        measures.append(Measure("forget_quality", title, meaning, "oracle", "probability", "higher", quality))
    if sets.holdout:
        rows = [*(q.dialogue for q in sets.forget), *sets.holdout]
        attacked = {name: _attacks(models, lm, rows) for name, lm in models.named.items()}
        measures += measures_of({name: parted(scores, len(sets.forget)) for name, scores in attacked.items()})
    counts = {"forget": len(sets.forget)} | {name: len(q) for name, q in sets.kept.items()}
    return models.result("tofu", measures, {"split": split, "rows": counts | {"holdout": len(sets.holdout)}})


def _by_part(figures: Mapping[str, Sequence[Figures]]) -> list[dict[str, Figures]]:
    return [dict(zip(figures, column, strict=True)) for column in zip(*figures.values(), strict=True)]


def _figures(models: Models, lm: LanguageModel, parts: Sequence[Sequence[Question]]) -> list[Figures]:
    """Of each part every figure of every row; all parts are asked together."""
    recalls = iter(_recalls(models, lm, [q.dialogue for questions in parts for q in questions]))
    return [_measured(models, lm, questions, [next(recalls) for _ in questions]) for questions in parts]


def _measured(models: Models, lm: LanguageModel, questions: Sequence[Question], recalls: Sequence[float]) -> Figures:
    """log_ratio is log R."""
    asked = [d for q in questions for d in (q.dialogue, q.right, *q.wrong)]
    scores = iter(models.scores.of(lm, [lm.format.encode(d) for d in asked]))
    found: dict[str, list[float]] = {}
    for question, recall in zip(questions, recalls, strict=True):
        own, right, *wrong = (next(scores) for _ in range(2 + len(question.wrong)))
        log_p, others = mean_log_p(own), [mean_log_p(w) for w in wrong]
        ratio = float(np.mean(others)) - mean_log_p(right)
        figures = {  # what may be no number comes first: min() keeps it then
            "probability": math.exp(log_p),
            "chosen": 1 / (1 + sum(math.exp(min(other - log_p, 700.0)) for other in others)),
            "rouge": recall,
            "alike": math.exp(-abs(ratio)),
            "preferred": -math.expm1(min(ratio, 0.0)),
            "exact_memorization": float(own.greedy.double().mean()),
            "extraction_strength": extraction_strength(own.greedy.tolist()),
            "log_ratio": ratio,
        }
        for key, value in figures.items():
            found.setdefault(key, []).append(value)
    return found


def _recalls(models: Models, lm: LanguageModel, dialogues: Sequence[Dialogue]) -> list[float]:
    """ROUGE-L recall of greedy answers."""

    def find(places: Sequence[int]) -> list[float]:
        asked = [dialogues[i] for i in places]
        return [
            rouge_recall(text, d.response or "") for (text,), d in zip(_said(models, lm, asked), asked, strict=True)
        ]

    return models.scores.numbers(lm, f"rouge-{ANSWER}", [lm.format.encode(d) for d in dialogues], find)


def _said(models: Models, lm: LanguageModel, dialogues: Sequence[Dialogue]) -> list[list[str]]:
    """Greedy answers; as far as they are the row's own, its scores have told them already."""
    rows = [lm.format.encode(d) for d in dialogues]
    own = [leading(s.greedy) for s in models.scores.of(lm, rows)]
    known = [row.response[:count] for row, count in zip(rows, own, strict=True)]
    with models.progress.stage("Asking", len(rows)) as advance:
        return generate(lm, dialogues, max_new_tokens=ANSWER, starts=known, progress=advance)


def _kinds(part: str) -> dict[str, str]:
    """Which figures a part has: what a measure is called, and which figure it is."""
    if part == "forget":
        memory = {key: key for key in ("exact_memorization", "extraction_strength")}
        return {"probability": "probability", "rouge": "rouge", "truth_ratio": "alike"} | memory
    return {"probability": "chosen" if part in _CHOSEN else "probability", "rouge": "rouge", "truth_ratio": "preferred"}


def _part(part: str, words: str, group: Group, better: Better, found: Mapping[str, Figures]) -> list[Measure]:
    made = []
    for name, of in _kinds(part).items():
        title = {"rouge": "ROUGE-L recall"}.get(name, name.replace("_", " ").capitalize())
        wanted: Better = "nearer the oracle" if of == "alike" else better
        made.append(mean(f"{part}_{name}", f"{title}, {words}", f"{_MEANINGS[of]}.", group, wanted, found, of=of))
    return made


def _utility(kept: Mapping[str, Mapping[str, Figures]]) -> Measure:
    names = next(iter(kept.values()))
    estimates = {
        name: utility([[found[name][of] for of in _kinds(part).values()] for part, found in kept.items()])
        for name in names
    }
    meaning = "Harmonic mean of probability, ROUGE-L and truth ratio of retain rows, real authors and world facts."
    return Measure("model_utility", "Model utility", meaning, "ability", "probability", "higher", **estimates)


def _attacks(models: Models, lm: LanguageModel, dialogues: Sequence[Dialogue]) -> Figures:
    rows = [lm.format.encode(d) for d in dialogues]
    found = attacks(models.scores.of(lm, rows), [d.response or "" for d in dialogues])
    return {**found, "gradient": [-norm for norm in gradient_norms(lm, rows, models.scores)]}
