"""Text with its disguises taken off: one canonical string, and the way back to the original characters.

A text is read in four steps, each of which knows where its characters came from: escapes are decoded (HTML, percent,
backslash), characters folded (case, width, accents, look-alikes; invisible ones dropped), words cut at every change
between letters, digits and everything else, and number words written as digits. The words run together are the
canonical string, so neither spacing nor separators matter to a search in it.
"""

from __future__ import annotations

import html
import re
import unicodedata
from functools import lru_cache
from itertools import accumulate
from urllib.parse import unquote

from expunge.span import Span

WORD = re.compile(r"[^\W\d_]+|\d+|@")
ASCII_WORD = re.compile(r"[a-z]+|[0-9]+|@")  # the same in lower case, faster
ESCAPE = re.compile(
    r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,31});"
    r"|%[0-7][0-9A-Fa-f]|%[C-Fc-f][0-9A-Fa-f](?:%[89ABab][0-9A-Fa-f])+"
    r"|\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2}"
)
_PECULIAR = re.compile(rf"[^\x00-\x7f]|{ESCAPE.pattern}")  # all that is not read as it is written, but for its case

_UNITS = "zero one two three four five six seven eight nine oh"
_TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
UNITS = dict(zip(_UNITS.split(), "01234567890", strict=True))
TEENS = dict(zip(_TEENS.split(), map(str, range(10, 20)), strict=True))
TENS = dict(zip(_TENS.split(), "23456789", strict=True))
REPEATS = {"double": 2, "triple": 3, "treble": 3}
NUMBER_WORDS = frozenset(UNITS) | frozenset(TEENS) | frozenset(TENS) | frozenset(REPEATS)
SPOKEN = NUMBER_WORDS | {"at", "dot"}

# One letter of another script for each Latin letter it is drawn like. Small and capital letters share a row, chosen by
# the capital where the two differ, so that names written wholly in that script still match in either case.
LOOKALIKES = dict(
    zip(
        "авеёнікморстухѕјԁԛԝһӏɡɑıαβεζηικμνορτυχᴀʙᴄᴅᴇɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢøłđƚ",
        "abeehikmopctyxsjdqwhlgaiabezhikmnoptyxabcdeghijklmnoprstuvwyzoldl",
        strict=True,
    )
)
INVISIBLE = frozenset({"Cf", "Mn", "Me"})
FILLERS = frozenset("\u115f\u1160\u3164\uffa0")  # drawn as nothing, though Unicode calls them letters

LEET_READ = str.maketrans("013457$", "oleasts")
LEET_FOLD = str.maketrans("013457i", "oleastl")
_LETTER = r"[^\x00-`{-\x7f]"  # in lower case
LEET_SEEN = re.compile(rf"[013457$](?:(?<={_LETTER}.)|(?={_LETTER}))")  # begins with what is rare: searched fast


class View:
    """One reading of a text.

    text: its characters as read. words: as they enter `canonical`, word i at canonical[at[i]:at[i + 1]], and read from
    text[spans[i][0]:spans[i][1]].
    """

    __slots__ = ("_ends", "_ranges", "_spans", "_starts", "at", "canonical", "text", "words")

    def __init__(self, text: str, starts: list[int] | None = None, ends: list[int] | None = None) -> None:
        self.text = text
        self._starts, self._ends = starts, ends
        self.words: list[str] = (ASCII_WORD if text.isascii() else WORD).findall(text)
        self._ranges: list[tuple[int, int]] | None = None
        self._spans: list[tuple[int, int]] | None = None
        if not SPOKEN.isdisjoint(self.words):
            self.words, self._ranges = _spoken(self.words)
        self.canonical = "".join(self.words)
        self.at = [0, *accumulate(map(len, self.words))]

    @property
    def spans(self) -> list[tuple[int, int]]:
        """Where each word was read; found when first asked for, since most texts hold nothing."""
        if self._spans is None:
            raw = [match.span() for match in WORD.finditer(self.text)]
            self._spans = raw if self._ranges is None else [(raw[i][0], raw[j][1]) for i, j in self._ranges]
        return self._spans

    def original(self, first: int, last: int) -> Span:
        """The original characters of the words first … last."""
        start, end = self.spans[first][0], self.spans[last][1]
        if self._starts is None or self._ends is None:
            return Span(start, end)
        return Span(self._starts[start], self._ends[end - 1])

    def gap(self, word: int) -> str:
        """The characters between a word and the next."""
        return self.text[self.spans[word][1] : self.spans[word + 1][0]]

    def leet(self) -> View | None:
        """The reading as letters, where a word mixes letters and digits; None elsewhere."""
        if (self.canonical.isalpha() and "$" not in self.text) or not LEET_SEEN.search(self.text):
            return None
        return self.letters()

    def letters(self) -> View:
        """The same text with digits read as the letters they are drawn like, and i as l, since 1 may be either."""
        view = View(self.text.translate(LEET_READ), self._starts, self._ends)
        view.canonical = view.canonical.translate(LEET_FOLD)
        return view


def read(text: str) -> View:
    """The plain reading of a text."""
    if text.isascii() and "&" not in text and "%" not in text and "\\" not in text:
        return View(text.lower())
    characters: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    done = 0
    for match in _PECULIAR.finditer(text):
        start, end = match.span()
        characters += text[done:start].lower()
        starts += range(done, start)
        ends += range(done + 1, start + 1)
        folded = "".join(map(fold, match[0] if match[0][0] > "\x7f" else _unescape(match[0])))
        characters += folded
        starts += [start] * len(folded)
        ends += [end] * len(folded)
        done = end
    characters += text[done:].lower()
    starts += range(done, len(text))
    ends += range(done + 1, len(text) + 1)
    return View("".join(characters), starts, ends)


@lru_cache(maxsize=65536)
def fold(character: str) -> str:
    """A character without case, width, accent or script; nothing for one that is not seen."""
    folded = []
    for part in unicodedata.normalize("NFKD", character):
        if unicodedata.category(part) in INVISIBLE or part in FILLERS:
            continue
        digit = unicodedata.decimal(part, None)
        folded.append(str(digit) if digit is not None else _latin(part))
    return "".join(folded)


def _latin(part: str) -> str:
    return "".join(LOOKALIKES.get(c, c) for c in LOOKALIKES.get(part, part).casefold())


def _unescape(escape: str) -> str:
    if escape[0] == "&":
        return html.unescape(escape)
    return unquote(escape, errors="replace") if escape[0] == "%" else chr(int(escape[2:], 16))


def _spoken(words: list[str]) -> tuple[list[str], list[tuple[int, int]]]:
    """Number words as digits ("double five" 55, "forty seven" 47), "at" as @; "dot" is a separator and goes.

    With each word comes the range (first, last) of the words that it was made of.
    """
    written: list[str] = []
    ranges: list[tuple[int, int]] = []
    done = 0
    for i, word in enumerate(words):
        if word not in SPOKEN or i < done:
            continue
        written += words[done:i]
        ranges += zip(range(done, i), range(done, i), strict=True)
        said, taken = _one_spoken(word, words[i + 1] if i + 1 < len(words) else "")
        if said != "dot":
            written.append(said)
            ranges.append((i, i + taken - 1))
        done = i + taken
    written += words[done:]
    ranges += zip(range(done, len(words)), range(done, len(words)), strict=True)
    return written, ranges


def _one_spoken(word: str, following: str) -> tuple[str, int]:
    """A word as digits, and how many words that took."""
    digit = UNITS.get(following, following)
    if word in REPEATS and len(digit) == 1 and digit.isdigit():
        return digit * REPEATS[word], 2
    if word in TENS:
        return (TENS[word] + digit, 2) if following in UNITS and digit != "0" else (TENS[word] + "0", 1)
    return ("@" if word == "at" else UNITS.get(word) or TEENS.get(word) or word), 1
