"""MUSE (Shi et al. 2024, arXiv 2407.06460): news articles or books that are to be forgotten."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from expunge.audit.membership import attacks, measures_of, parted
from expunge.audit.result import Better, Group
from expunge.audit.rouge import rouge_f1
from expunge.benchmarks.raw import continuations, encode_text, prompt, shortened
from expunge.benchmarks.result import Figures, Models, Result, mean
from expunge.benchmarks.rows import Item, Source
from expunge.dialogue import Dialogue
from expunge.model import LanguageModel

Corpus = Literal["news", "books"]
HUB: Mapping[Corpus, str] = {"news": "muse-bench/MUSE-News", "books": "muse-bench/MUSE-Books"}
VERBATIM, ANSWER = 128, 32
"""Tokens of a continuation and of an answer, at most."""

_STOP = re.compile("\n\n|\nQuestion|Question:")
_TEXTS: Mapping[str, tuple[str, str, Group, Better]] = {
    "verbmem": (
        "Verbatim memorization",
        f"ROUGE-L F1 of the greedy continuation ({VERBATIM} tokens at most) against the text's own first {VERBATIM}.",
        "forgetting",
        "nearer the oracle",
    ),
    "knowmem_forget": (
        "Knowledge memorization, forget",
        f"ROUGE-L F1 of the greedy answer ({ANSWER} tokens at most), asked after a few examples, on what is forgotten.",
        "forgetting",
        "nearer the oracle",
    ),
    "knowmem_retain": ("Knowledge memorization, retain", "The same on what is kept.", "ability", "higher"),
}


@dataclass(frozen=True, slots=True)
class Pair:
    """Raw text to go on from, and what it should not (or should) go on with."""

    prompt: Dialogue
    text: str


@dataclass(frozen=True, slots=True)
class Sets:
    """What MUSE asks: pairs by the name of their measure, and texts for the membership test with their places."""

    pairs: Mapping[str, tuple[Pair, ...]]
    forget: tuple[tuple[str, str], ...]
    holdout: tuple[tuple[str, str], ...]


def read(source: Source) -> Sets:
    """The rows of a corpus: a dataset of the hub, or a folder of files such as `knowmem/forget_qa.jsonl`.

    Raises:
        InputError: a part is missing or a row cannot be read.
    """
    verbatim = [Pair(prompt(i.text("prompt"), place=_place(i)), i.text("gt")) for i in _items(source, "verbmem/forget")]
    return Sets(
        {
            "verbmem": tuple(verbatim),
            "knowmem_forget": _questions(source, "forget"),
            "knowmem_retain": _questions(source, "retain"),
        },
        *(
            tuple((i.text("text"), _place(i)) for i in _items(source, f"privleak/{name}"))
            for name in ("forget", "holdout")
        ),
    )


def _items(source: Source, part: str) -> list[Item]:
    config, _, split = part.partition("/")
    return source.items(config, split, file=part)


def _place(item: Item) -> str:
    return f"{item.file}:{item.line}"


def _questions(source: Source, name: str) -> tuple[Pair, ...]:
    """Questions after the examples of the set, in MUSE's own words."""
    examples = _items(Source(source.name), f"knowmem/{name}_qa_icl")
    shots = "".join(f"Question: {i.text('question')}\nAnswer: {i.text('answer')}\n\n" for i in examples)
    return tuple(
        Pair(prompt(f"{shots}Question: {i.text('question')}\nAnswer: ", place=_place(i)), i.text("answer"))
        for i in _items(source, f"knowmem/{name}_qa")
    )


def muse(models: Models, sets: Sets, *, corpus: Corpus) -> Result:
    """MUSE's figures of a model and, where there is one, of the oracle; PrivLeak only with an oracle."""
    found = {
        name: {key: _similarity(models, lm, key, pairs) for key, pairs in sets.pairs.items()}
        for name, lm in models.named.items()
    }
    measures = [mean(key, *_TEXTS[key], found) for key in sets.pairs]
    texts = [*sets.forget, *sets.holdout]
    attacked = {name: _mink(models, lm, texts) for name, lm in models.named.items()}
    measures += measures_of({name: parted(scores, len(sets.forget)) for name, scores in attacked.items()})
    counts = {key: len(pairs) for key, pairs in sets.pairs.items()}
    privleak = {"privleak_forget": len(sets.forget), "privleak_holdout": len(sets.holdout)}
    return models.result("muse", measures, {"corpus": corpus, "rows": counts | privleak})


def _similarity(models: Models, lm: LanguageModel, key: str, pairs: Sequence[Pair]) -> list[float]:
    verbatim = key == "verbmem"
    with models.progress.stage("Asking", len(pairs)) as advance:
        asked = [pair.prompt for pair in pairs]
        said = continuations(lm, asked, max_new_tokens=VERBATIM if verbatim else ANSWER, progress=advance)
    if verbatim:
        return [rouge_f1(text, shortened(lm, p.text, VERBATIM)) for text, p in zip(said, pairs, strict=True)]
    return [rouge_f1(_STOP.split(text)[0], p.text) for text, p in zip(said, pairs, strict=True)]


def _mink(models: Models, lm: LanguageModel, texts: Sequence[tuple[str, str]]) -> Figures:
    rows = [encode_text(lm, text, place=place) for text, place in texts]
    found = attacks(models.scores.of(lm, rows), [text for text, _ in texts])
    return {"mink": found["mink"]}
