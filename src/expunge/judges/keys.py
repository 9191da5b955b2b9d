"""Where an answer says a reference's key: as it stands, and with its numbers and units written otherwise."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from expunge.judges.folding import NUMBER_WORDS, TEENS, TENS, UNITS
from expunge.judges.words import places, tokens

COUNTED = {word: number for word, number in (UNITS | TEENS).items() if word not in ("oh", "one")}  # "one" is a pronoun
COUNTED |= {word: ten + "0" for word, ten in TENS.items()}
COUNTED |= {f"{word} {unit}": ten + u for word, ten in TENS.items() for unit, u in UNITS.items() if u != "0"}
SPELT = {number: words for words, number in COUNTED.items()}
NUMBER = re.compile(rf"\b(?:{'|'.join(sorted(COUNTED, key=len, reverse=True))})\b")
ON = NUMBER_WORDS | {"hundred", "thousand", "million", "billion", "point"}  # beside these a number goes on
UNIT = re.compile(r"(?<=\d)( ?)(?=[^\W\d_])")


def key_places(said: Sequence[str], key: str) -> list[int]:
    """Where a key's words begin in the words of an answer; "forty-two" is 42, and "5 km" is "5km"."""
    written, spelt = _forms(key)
    found = [at for form in written for at in places(said, form)]
    return found + [at for at in places(said, spelt) if not _goes_on(said, at, at + len(spelt))]


@lru_cache(maxsize=1 << 16)
def _forms(key: str) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]:
    """The words of a key and of its other writings; and those with its numbers in words, if it has any below 100."""
    words = tokens(key)
    text = " ".join(words)
    forms = (text, UNIT.sub("", text), UNIT.sub(" ", text), NUMBER.sub(lambda words: COUNTED[words[0]], text))
    spelt = " ".join(SPELT.get(word, word) for word in words)
    return tuple(dict.fromkeys(tuple(f.split()) for f in forms)), tuple(spelt.split()) if spelt != text else ()


def _goes_on(said: Sequence[str], start: int, end: int) -> bool:
    """Whether a number in words is part of a longer one: the "two" of "forty-two", "two hundred"."""
    before, after = said[max(0, start - 1) : start], said[end : end + 1]
    return (said[start] in ON and not ON.isdisjoint(before)) or (said[end - 1] in ON and not ON.isdisjoint(after))
