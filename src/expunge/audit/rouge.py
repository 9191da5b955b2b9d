"""ROUGE-L (Lin 2004): how much of a text's words another says, in the same order."""

from __future__ import annotations

import re

_ALONE = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"  # Thai, kana, Han: no spaces between words
_WORD = re.compile(f"[{_ALONE}]|[^\\W_{_ALONE}]+")


def rouge_recall(said: str, meant: str) -> float:
    """Longest common subsequence of words over the words of `meant`, without case or punctuation, not stemmed.

    A letter of a script without spaces is a word. A text without words is recalled by its like alone.

    "The number is 4-71." of "Ann's number is 4-71-63." shares number, is, 4, 71 of its 7 words.
    """
    ours, theirs = (_WORD.findall(text.casefold()) for text in (said, meant))
    if not theirs:
        return float(said.strip() == meant.strip())
    return _common(theirs, ours) / len(theirs)


def rouge_f1(said: str, meant: str) -> float:
    """Harmonic mean of what `said` recalls of `meant` and `meant` of `said`: ROUGE-L F1."""
    recall, precision = rouge_recall(said, meant), rouge_recall(meant, said)
    return 2 * recall * precision / (recall + precision) if recall + precision else 0.0


def _common(ours: list[str], theirs: list[str]) -> int:
    """Length of the longest common subsequence; a row of the usual table is held as the bits of one integer."""
    places: dict[str, int] = {}
    for i, word in enumerate(ours):
        places[word] = places.get(word, 0) | 1 << i
    full = (1 << len(ours)) - 1
    row = full
    for word in theirs:
        shared = row & places.get(word, 0)
        row = (row + shared | row - shared) & full
    return len(ours) - row.bit_count()
