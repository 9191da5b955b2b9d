"""Words compared as question answering compares them: without case, punctuation, accents or articles."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from expunge.judges.folding import UNSPACED
from expunge.span import Span

_LETTER = rf"[^\W{UNSPACED}]"
_MINUS = r"(?<![^\s(\[\"'=:])(?<!\d\s)[-\u2212](?=\d)"  # not a hyphen between words or numbers
WORD = re.compile(rf"[{UNSPACED}](?<=\w)|(?:{_MINUS})?{_LETTER}+(?:['\u2019.,]{_LETTER}+)*")
ASCII_WORD = re.compile(r"\w+(?:['.,]\w+)*", re.ASCII)  # the same where there is neither a minus nor another script
THOUSANDS = re.compile(r"(?<![\d.,])(\d{1,3})((?:,\d{3})+)(?![\d,])")
APART = re.compile(r"(?!(?<=\d)[.,]\d|(?<!.)-\d)[^\w]|_")
ARTICLES = frozenset({"a", "an", "the"})


@dataclass(frozen=True, slots=True)
class Word:
    """A normalised word, and where it stands."""

    text: str
    span: Span


def words(text: str) -> list[Word]:
    """The normalised words of `text`, without articles unless nothing else is there.

    "It's the 1,000th." gives "its" and "1000th"; "1.5" and "-5" stay as they are.
    """
    found = [word for m in _form(text).finditer(text) if (word := Word(normal_word(m[0]), Span(*m.span()))).text]
    return [word for word in found if word.text not in ARTICLES] or found


def tokens(text: str) -> list[str]:
    """The texts of `words`."""
    found = [word for said in _form(text).findall(text) if (word := normal_word(said))]
    return [word for word in found if word not in ARTICLES] or found


def normal(text: str) -> str:
    """The normalised words, a space between them."""
    return " ".join(tokens(text))


def normal_word(word: str) -> str:
    if word.isascii() and word.isalnum():
        return word.lower()
    if not word.isascii():
        parts = unicodedata.normalize("NFKD", word.casefold().replace("\u2212", "-"))
        word = "".join(c for c in parts if not unicodedata.combining(c))
    return APART.sub("", THOUSANDS.sub(lambda m: m[0].replace(",", ""), word.lower()))


def _form(text: str) -> re.Pattern[str]:
    """`WORD`, or what finds the same faster."""
    return ASCII_WORD if text.isascii() and "-" not in text else WORD


def token_f1(said: Sequence[str], meant: Sequence[str]) -> float:
    """Harmonic mean of precision and recall over words, as in SQuAD (Rajpurkar et al. 2016); 1.0 for two empty texts.

    "tall red tower" against "red tower" shares 2 words: precision 2/3, recall 1, F1 0.8.
    """
    if not said or not meant:
        return float(not said and not meant)
    shared = (Counter(said) & Counter(meant)).total()
    return 2 * shared / (len(said) + len(meant))


def places(haystack: Sequence[str], needle: Sequence[str]) -> list[int]:
    """Where `needle` stands in `haystack` as whole words."""
    size = len(needle)
    if not size:
        return []
    return [i for i in range(len(haystack) - size + 1) if list(haystack[i : i + size]) == list(needle)]
