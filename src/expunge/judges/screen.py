"""A quick look at many texts at once: which of them a registry need not read.

A value is found only where a word begins with the first five characters of one of its forms. So the words of all texts
are looked up together, as numbers in arrays, and only the texts in which one passes are read with care. What passes may
be a mistake; what does not cannot hold a value.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expunge.judges.folding import LEADING, SPOKEN, UNSPACED, WORD, one_spoken
from expunge.judges.index import HEAD

CHARACTERS = 1 << 17  # looked at together: arrays of a few MiB
KEPT = 1 << 23
"""Bytes. glibc keeps free memory for the next chunk, up to twice the largest array that it has seen come and go; else
it would give it back and fetch it anew each time, for a fifth of the time that a chunk takes."""

PADDING = "\n" * 16  # so that looking a few characters on never leaves the array

Flags = NDArray[np.bool_]
Codes = NDArray[np.uint8] | NDArray[np.uint32]
Places = NDArray[np.intp]

LETTER, DIGIT, AT, ALONE = 1, 2, 3, 4  # the last two are words by themselves
BOUNDS = sorted([*map(ord, UNSPACED[::3]), *(ord(last) + 1 for last in UNSPACED[2::3])])


def _kinds() -> NDArray[np.uint8]:
    """What each ASCII character is to `folding.WORD`; and 128, which stands for all others."""
    kinds = np.zeros(129, np.uint8)
    for code in range(128):
        character = chr(code)
        kinds[code] = LETTER * character.isalpha() + DIGIT * character.isdigit() + AT * (character == "@")
    kinds[128] = LETTER
    return kinds


KINDS = _kinds()


class Heads:
    """A set of strings of five characters, NUL for what is missing. Asked by numbers, many at a time."""

    def __init__(self, members: Iterable[str]) -> None:
        joined = "".join(members)
        self._keys = np.unique(_keys([*_codes(joined).reshape(-1, HEAD).T]))
        bits = min(24, max(16, (64 * len(self._keys)).bit_length()))
        self._shift = np.uint64(64 - bits)
        self._table = np.zeros(1 << bits, np.bool_)
        self._table[self._keys >> self._shift] = True

    def has(self, columns: Sequence[Codes]) -> Flags:
        """Five arrays [n] of characters -> [n]; every member passes, and hardly anything else (64-bit hashes)."""
        keys = _keys(columns)
        passed: Flags = self._table[keys >> self._shift]
        likely = keys[passed]
        passed[passed] = self._keys[np.searchsorted(self._keys, likely).clip(max=len(self._keys) - 1)] == likely
        return passed


def _keys(columns: Sequence[Codes]) -> NDArray[np.uint64]:
    keys: NDArray[np.uint64] = columns[0].astype(np.uint64)
    for column in columns[1:]:
        keys *= np.uint64(0x9E3779B97F4A7C15)
        keys += column
    keys *= np.uint64(0xD6E8FEB86659FD93)
    return keys


def _codes(text: str) -> Codes:
    """Its characters as numbers, in as little memory as they need."""
    if text.isascii():
        return np.frombuffer(text.encode(), np.uint8)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


class Lines:
    """Texts as one array of characters, in lower case, with what each one is.

    A character beyond ASCII is taken for a letter: replace others before (`folding.plain`).
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._joined = "\n".join((*texts, PADDING))
        self._ends = list(accumulate(len(text) + 1 for text in texts))
        codes = _codes(self._joined)
        self._kinds = KINDS.take(codes, mode="clip")
        if codes.dtype != np.uint8:
            far = np.flatnonzero(codes >= BOUNDS[0])
            self._kinds[far[np.searchsorted(BOUNDS, codes[far], side="right") % 2 == 1]] = ALONE
        self._capital: Flags = (codes - codes.dtype.type(ord("A"))) < 26
        self._codes = codes + (self._capital.view(np.uint8) << np.uint8(5))

    def leet(self) -> list[int]:
        """Texts that `folding.LEET_SEEN` matches, and perhaps others."""
        letter = (self._kinds == LETTER) | (self._codes >= 127)
        places = np.flatnonzero(LEET.take(self._codes, mode="clip"))
        return self._texts(places[letter[places - 1] | letter[places + 1]])

    def encoded(self) -> list[int]:
        """Texts that `registry.MIXED` matches, as long as they are ASCII."""
        digit, letter = self._kinds == DIGIT, self._kinds == LETTER
        two = digit & _before(digit)
        four = two & _before(two, 2)
        ten = four & _before(four, 4) & _before(two, 8)
        capital = self._capital & _before(digit | letter & ~self._capital)
        return self._texts(np.flatnonzero(capital | digit & _before(letter) | ten))

    def starting(self, heads: Heads, fold: Mapping[int, int] | None = None) -> list[int]:
        """Texts in whose canonical string, its characters replaced by those of `fold`, a word begins with a head.

        After a plus, a number's second to fourth digit count as beginnings too: there the national number may begin.
        """
        codes, kinds = self._codes.copy(), self._kinds.copy()
        begins = (kinds != _before(kinds)) & (kinds != 0) | (kinds >= AT)
        self._speak(codes, kinds, np.flatnonzero(begins))
        plus = np.flatnonzero(codes == ord("+"))
        for i in (2, 3, 4):
            begins[plus + i] |= kinds[plus + i] == DIGIT
        for old, new in (fold or {}).items():
            codes[codes == old] = new
        kept = kinds != 0
        words = np.flatnonzero(begins.compress(kept))
        canonical = np.concatenate((codes.compress(kept), np.zeros(HEAD, codes.dtype)))
        found = heads.has([canonical[words + i] for i in range(HEAD)])
        return self._texts(np.flatnonzero(begins & kept)[found])

    def _speak(self, codes: Codes, kinds: NDArray[np.uint8], words: Places) -> None:
        """Write number words as digits, as `folding` does: over their first characters; the others go."""
        near = np.flatnonzero(BEGINS_SPOKEN.take(codes[words], mode="clip"))
        starts = words[near]
        inside: Flags = np.ones(len(starts), np.bool_)
        columns = []
        for i in range(HEAD):
            inside &= kinds[starts + i] == LETTER
            columns.append(codes[starts + i] * inside)
        done = 0
        for i in near[SPOKEN_HEADS.has(columns)].tolist():
            start = int(words[i])
            word = self._word(start)
            if start < done or word not in SPOKEN:
                continue
            following, after = self._following(words, i) if word in LEADING else ("", 0)
            said, taken = one_spoken(word, following)
            if said == "dot" or said != word:
                done = start + len(word) if taken == 1 else after + len(following)
                kinds[start:done] = 0
                for place, character in enumerate("" if said == "dot" else said, start=start):
                    codes[place] = ord(character)
                    kinds[place] = KINDS[ord(character)]

    def _following(self, words: Places, i: int) -> tuple[str, int]:
        """The next word of the same text, if any, and where it begins."""
        end = self._ends[bisect_right(self._ends, int(words[i]))]
        start = int(words[i + 1]) if i + 1 < len(words) else end
        return (self._word(start) if start < end else "", start)

    def _word(self, start: int) -> str:
        word = WORD.match(self._joined, start)
        return word[0].lower() if word else ""

    def _texts(self, places: Places) -> list[int]:
        """The texts in which these are."""
        owners: list[int] = np.unique(np.searchsorted(self._ends, places, side="right")).tolist()
        return owners


SPOKEN_HEADS = Heads(word[:HEAD].ljust(HEAD, "\0") for word in SPOKEN)
BEGINS_SPOKEN = np.array([chr(code) in {word[0] for word in SPOKEN} for code in range(129)])
LEET = np.array([chr(code) in "013457$" for code in range(129)])


def _before(array: NDArray[Any], by: int = 1) -> NDArray[Any]:
    """Each place has what stands `by` places before it; nothing stands before the first."""
    return np.concatenate((np.zeros(by, array.dtype), array[:-by]))


def chunks(texts: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
    """Runs of texts of about so many characters, each with the number of its first."""
    np.empty(KEPT, np.uint8)
    first = size = 0
    for number, text in enumerate(texts, start=1):
        size += len(text)
        if size >= CHARACTERS or number == len(texts):
            yield first, texts[first:number]
            first, size = number, 0
