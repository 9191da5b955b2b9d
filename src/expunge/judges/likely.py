"""A quick look at many texts at once: in which of them private data of a known form may stand.

Such data have an @, two colons, digits close to each other, twenty characters of a key in a row, or "pass" and a digit,
and most text has none of these. So the characters of all texts are looked at together, as places in an array. What
passes may be a mistake; in what does not, `patterns` finds nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from expunge.judges.credentials import IN_KEY, RUN
from expunge.judges.passwords import REACH

HYPHENS = "\u2010\u2011\u2012\u2013\u2212"
ASCII_SIGNS = (
    {chr(c): chr(c - 0xFEE0) for c in range(0xFF01, 0xFF5F)}
    | dict.fromkeys(map(chr, (0xA0, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000)), " ")
    | dict.fromkeys(HYPHENS, "-")
)
UNLIKE_ASCII = re.compile(rf"[{''.join(ASCII_SIGNS)}](?:(?<![{HYPHENS}])|(?=\d))")
DIGIT = re.compile(r"\d")
FOREIGN_DIGIT = re.compile(r"[^\x00-\x7f](?<=\d)")
UNKNOWN = b"?"  # stands for any character beyond ASCII that is no digit
END = b"\0"  # of a text; part of no form
MARGIN = 8  # characters looked at around a digit

Flags = NDArray[np.bool_]
Places = NDArray[np.intp]


def _flags(characters: bytes) -> Flags:
    """Of each byte, whether it is one of these."""
    flags = np.zeros(256, np.bool_)
    flags[list(characters)] = True
    return flags


LETTER = _flags(bytes(c for c in range(128) if chr(c).isalpha()) + UNKNOWN)
DOT = _flags(b".")
OF_KEY = _flags(IN_KEY.encode()).tobytes()
BEHIND_PASS = _flags(b"wpc")
IN_NUMBER = _flags(b" .-")  # between the digits of `patterns.NUMBER`; seldom one of
IN_MIDDLE = _flags(b"+aA")
IN_PHONE = _flags(b"xX~/.()[]- \t\n\v\f\r\x1c\x1d\x1e\x1f" + UNKNOWN)  # between those of `phones.LIKE`


def unified(text: str) -> str:
    """The text with wide signs, blanks and the hyphens before digits as ASCII has them, each in its place."""
    return text if text.isascii() else UNLIKE_ASCII.sub(lambda sign: ASCII_SIGNS[sign[0]], text)


def likely(texts: Sequence[str]) -> tuple[set[int], set[int]]:
    """The numbers of the texts in which what opens something may be found, and those in which other forms may."""
    joined = END * MARGIN + END.join(map(_ascii, texts)) + END * MARGIN
    signs = np.frombuffer(joined, np.uint8)
    starts = np.fromiter(accumulate((len(text) + 1 for text in texts[:-1]), initial=MARGIN), np.intp)
    digits = _Digits(signs)
    ats, colons = (np.flatnonzero(signs == ord(sign)) for sign in "@:")
    of_key = np.frombuffer(joined.translate(OF_KEY), np.bool_)
    secret = (ats, _runs(signs, of_key), digits.behind_pass())
    other = (
        ats,
        colons[:-1][np.diff(colons) <= 5],  # `patterns.IPV6_LIKE`
        digits.at[digits.behind_letters() | digits.number() | digits.phone() | digits.dotted()],
    )
    found = (np.searchsorted(starts, np.concatenate(places), side="right") - 1 for places in (secret, other))
    one, two = ({*places.tolist()} for places in found)
    return one, two


def _ascii(text: str) -> bytes:
    """A byte for each character."""
    if text.isascii():
        return text.encode()
    return FOREIGN_DIGIT.sub("0", unified(text)).encode("ascii", "replace")


class _Digits:
    """Where digits are, and of each whether it begins what a form has."""

    def __init__(self, signs: NDArray[np.uint8]) -> None:
        self.at = np.flatnonzero(signs - np.uint8(ord("0")) < 10)
        self._signs = signs
        self._next = np.diff(self.at, append=len(signs))  # how far on the next digit is

    def _has(self, flags: Flags, by: int) -> Flags:
        """Whether the character so far on is one of these."""
        has: Flags = flags[self._signs[self.at + by]]
        return has

    def behind_letters(self) -> Flags:
        """Two letters and two digits: `patterns.IBAN_LIKE`, and where a part of `patterns.NUMBER` begins."""
        behind: Flags = (self._next == 1) & self._has(LETTER, -1) & self._has(LETTER, -2)
        return behind

    def number(self) -> Flags:
        """`patterns.NUMBER`."""
        one, two = self._next == 1, self._next == 2
        joined = one | two & self._has(IN_NUMBER, 1)
        behind_letter = self._has(LETTER, -1) | self._has(LETTER, -2)
        middle = _row(one, 5) & _on(two & self._has(IN_MIDDLE, 1), 5)
        return _row(joined, 7) | _row(joined, 5) & behind_letter | middle

    def phone(self) -> Flags:
        """`phones.LIKE`."""
        joined = self._next <= 5
        for by in range(1, 5):
            joined &= (self._next <= by) | self._has(IN_PHONE, by)
        return _row(joined, 6)

    def dotted(self) -> Flags:
        """Three dots as `patterns.IPV4_LIKE` has them."""
        dotted: Flags = (self._next == 2) & self._has(DOT, 1)
        places = self.at[dotted]
        dotted[dotted] = np.append(places[2:], [len(self._signs)] * 2)[: len(places)] - places <= 8
        return dotted

    def behind_pass(self) -> Places:
        """Where `passwords.PASS_LIKE` begins."""
        small = self._signs | np.uint8(0x20)
        p, a, s = (small == ord(letter) for letter in "pas")
        places: Places = np.flatnonzero(p[:-4] & a[1:-3] & s[2:-2] & s[3:-1])
        places = places[(small[places - 1] == ord("e")) | BEHIND_PASS[small[places + 4]]]
        following = np.append(self.at, len(p) + 2 * REACH)[np.searchsorted(self.at, places)]
        return places[following - places <= REACH + 4]


def _runs(signs: NDArray[np.uint8], of_key: Flags) -> Places:
    """Where `credentials.RUN_LIKE` begins: pairs of characters, pairs of pairs, and so on until each place stands for
    so many."""
    telling = signs - np.uint8(ord("0")) <= ord("Z") - ord("0")  # digits and capitals, of what a key has
    length = 1
    while length < RUN:
        by = min(length, RUN - length)
        of_key = of_key[:-by] & of_key[by:]
        telling = telling[:-by] | telling[by:]
        length += by
    return np.flatnonzero(of_key & telling)


def _on(flags: Flags, by: int) -> Flags:
    """Each place has what stands `by` places on."""
    return np.concatenate((flags[by:], np.zeros(min(by, len(flags)), np.bool_)))


def _row(flags: Flags, count: int) -> Flags:
    """Where so many in a row begin."""
    row = flags.copy()
    for by in range(1, count):
        row &= _on(flags, by)
    return row
