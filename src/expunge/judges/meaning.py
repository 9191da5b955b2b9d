"""What answers mean: which say the same, by their words, and how many different things they say."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from expunge.judges.facts import NEGATIONS
from expunge.judges.words import Word, normal_word, token_f1, words

LIKE = 0.8  # F1 from which words are alike
WITHIN = 0.5  # the same, where all words of one answer are in the other: "A baker." and "She works as a baker."
_FUNCTION = (
    "a an the is are was were be been am has have had do does did it its he she they we you i im his her their our my "
    "your this that these those there here in on at by for from of to with as and or but so if then well yes"
)
FUNCTION = frozenset(_FUNCTION.split())

Same = Callable[[str, str], bool]
"""Whether two answers mean the same."""


def clusters(answers: Sequence[str], same: Same) -> list[tuple[str, int]]:
    """Groups of answers that mean the same as the group's first: (first, size). Their order does not matter.

    The most frequent answers come first; each joins the first group that it fits, or founds one.
    """
    found: dict[str, int] = {}
    for answer, count in sorted(Counter(answers).items(), key=lambda pair: (-pair[1], pair[0])):
        first = next((first for first in found if same(first, answer)), answer)
        found[first] = found.get(first, 0) + count
    return list(found.items())


def entropy(sizes: Sequence[int]) -> float:
    """-Σ p ln p over the groups' shares, over ln(answers): of 4 and 1, (-.8 ln .8 - .2 ln .2) / ln 5 = 0.311."""
    total = sum(sizes)
    if total < 2:
        return 0.0
    return min(1.0, abs(sum(n * math.log(n / total) for n in sizes)) / (total * math.log(total)))


@dataclass(frozen=True, slots=True)
class Claim:
    """What an answer says beyond its question: all its words; those it adds, the numbers and names among these."""

    words: frozenset[str]
    added: tuple[str, ...]
    numbers: frozenset[str]
    names: frozenset[str]
    denies: bool


def same_by_words(question: str) -> Same:
    """When two answers to `question` mean the same, for answers of a sentence or so, in English or like it.

    Their numbers must be equal, each one's names (capitalised words) must be in the other, both or neither must deny;
    and of the words that they add to the question, function words aside, F1 is at least 0.8, or those of one are all in
    the other and F1 is at least 0.5. Synonyms, numbers in words and the order of words are not seen.
    """
    asked = frozenset(_plain(question, word) for word in words(question))
    read = cache(lambda answer: _claim(answer, asked))
    return lambda one, two: one == two or _same(read(one), read(two))


def _same(one: Claim, two: Claim) -> bool:
    if one.numbers != two.numbers or one.denies != two.denies:
        return False
    if not (one.names <= two.words and two.names <= one.words):
        return False
    f1 = token_f1(one.added, two.added)
    mine, theirs = set(one.added), set(two.added)
    return f1 >= (WITHIN if mine <= theirs or theirs <= mine else LIKE)


def _claim(answer: str, asked: frozenset[str]) -> Claim:
    found = words(answer)
    texts = [_plain(answer, word) for word in found]
    content = [i for i, text in enumerate(texts) if text not in FUNCTION]
    added = [i for i in content if texts[i] not in asked] or content or range(len(texts))
    capital = [answer[word.span.start].isupper() for word in found]
    named = [
        i for i in added
        if capital[i] and (not _opens(answer, found[i]) or (i + 1 < len(found) and capital[i + 1]))
    ]  # fmt: skip
    return Claim(
        words=frozenset(texts),
        added=tuple(texts[i] for i in added),
        numbers=frozenset(texts[i] for i in added if any(c.isdigit() for c in texts[i])),
        names=frozenset(texts[i] for i in named),
        denies=not NEGATIONS.isdisjoint(word.text for word in found),
    )


def _plain(text: str, word: Word) -> str:
    """The normalised word, without a possessive's ending."""
    raw = text[word.span.start : word.span.end]
    return normal_word(raw.removesuffix("'s").removesuffix("\u2019s")) or word.text


def _opens(text: str, word: Word) -> bool:
    """Whether a word opens a sentence, so that a capital tells little of it."""
    before = text[: word.span.start].rstrip("\"'\u201c\u2018( \t")
    return not before or before[-1] in ".!?:\n"
