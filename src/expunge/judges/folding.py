"""Text with its disguises taken off: one canonical string, and the way back to the original characters.

A text is read in four steps, each of which knows where its characters came from: escapes are decoded (HTML, percent,
backslash), characters folded (case, width, accents, look-alikes; invisible ones dropped), words cut at every change
between letters, digits and everything else and at each letter of a script without spaces, and number words written as
digits. The words run together are the canonical string, so neither spacing nor separators matter to a search in it.
"""

from __future__ import annotations

import html
import re
import unicodedata
from functools import lru_cache
from itertools import accumulate
from urllib.parse import unquote

from expunge.span import Span

UNSPACED = (
    "\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\uff66-\uff9f\U00020000-\U0003ffff"
)
"""Scripts without spaces between words: Thai, Lao, Burmese, Khmer, kana, Han. Each letter is a word; for a class."""
WORD = re.compile(rf"[{UNSPACED}](?<=[^\W\d_])|[^\W\d_{UNSPACED}]+|\d+|@")
NO_WORD = re.compile(r"[^\x00-\x7f](?<!\w)[^\w\x00-\x7f]*")  # beyond ASCII; written so that it is searched fast
ASCII_WORD = re.compile(r"[a-z]+|[0-9]+|@")  # the same in lower case, faster
_PECULIAR = re.compile(
    r"[&%\\\x80-\U0010ffff](?:(?<=[^\x00-\x7f])[^\x00-\x7f]*"
    r"|(?<=&)(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,31});"
    r"|(?<=%)(?:[0-7][0-9A-Fa-f]|[C-Fc-f][0-9A-Fa-f](?:%[89ABab][0-9A-Fa-f])+)"
    r"|(?<=\\)(?:u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}))"
)
"""All that is not read as it is written, but for its case; begins with what is rare, so that it is searched fast."""

_UNITS = "zero one two three four five six seven eight nine oh"
_TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
UNITS = dict(zip(_UNITS.split(), "01234567890", strict=True))
TEENS = dict(zip(_TEENS.split(), map(str, range(10, 20)), strict=True))
TENS = dict(zip(_TENS.split(), "23456789", strict=True))
REPEATS = {"double": 2, "triple": 3, "treble": 3}
NUMBER_WORDS = frozenset(UNITS) | frozenset(TEENS) | frozenset(TENS) | frozenset(REPEATS)
LEADING = frozenset(TENS) | frozenset(REPEATS)  # read together with the word that follows
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

    text: its characters as read. source: the original, where more than its case was folded. words: as they enter
    `canonical`, word i at canonical[at[i]:at[i + 1]], and read from text[spans[i][0]:spans[i][1]].
    """

    __slots__ = ("_origins", "_ranges", "_source", "_spans", "at", "canonical", "text", "words")

    def __init__(self, text: str, source: str | None = None) -> None:
        self.text = text
        self._source = source
        self._origins: tuple[list[int], list[int]] | None = None
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
        if self._source is None:
            return Span(start, end)
        if self._origins is None:
            self._origins = _origins(self._source)
        starts, ends = self._origins
        return Span(starts[start], ends[end - 1])

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
        view = View(self.text.translate(LEET_READ), self._source)
        view.canonical = view.canonical.translate(LEET_FOLD)
        return view


def read(text: str) -> View:
    """The plain reading of a text."""
    return View(text.lower()) if as_written(text) else View(folded(text), text)


def folded(text: str) -> str:
    """The characters of a text as read: `View.text`."""
    if as_written(text):
        return text.lower()
    pieces: list[str] = []
    done = 0
    for match in _PECULIAR.finditer(text):
        pieces += text[done : match.start()].lower(), *map(fold, _unescaped(match[0]))
        done = match.end()
    return "".join((*pieces, text[done:].lower()))


def as_written(text: str) -> bool:
    """Whether there is nothing to fold but case."""
    return text.isascii() and "&" not in text and "%" not in text and "\\" not in text


def plain(text: str) -> str:
    """`folded`, with DEL for each run of signs beyond ASCII: what is left beyond it are letters."""
    return NO_WORD.sub("\x7f", folded(text))


def _origins(text: str) -> tuple[list[int], list[int]]:
    """Where each character of `folded(text)` begins and ends in `text`."""
    starts: list[int] = []
    ends: list[int] = []
    done = 0
    for match in _PECULIAR.finditer(text):
        starts += range(done, match.start())
        ends += range(done + 1, match.start() + 1)
        escape = match[0] < "\x80"
        for i, character in enumerate(_unescaped(match[0])):
            start, end = match.span() if escape else (match.start() + i, match.start() + i + 1)
            size = len(fold(character))
            starts += [start] * size
            ends += [end] * size
        done = match.end()
    starts += range(done, len(text))
    ends += range(done + 1, len(text) + 1)
    return starts, ends


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


def _unescaped(peculiar: str) -> str:
    if peculiar[0] == "&":
        return html.unescape(peculiar)
    if peculiar[0] == "%":
        return unquote(peculiar, errors="replace")
    return chr(int(peculiar[2:], 16)) if peculiar[0] == "\\" else peculiar


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
        said, taken = one_spoken(word, words[i + 1] if i + 1 < len(words) else "")
        if said != "dot":
            written.append(said)
            ranges.append((i, i + taken - 1))
        done = i + taken
    written += words[done:]
    ranges += zip(range(done, len(words)), range(done, len(words)), strict=True)
    return written, ranges


def one_spoken(word: str, following: str) -> tuple[str, int]:
    """A word as digits, and how many words that took."""
    digit = UNITS.get(following, following)
    if word in REPEATS and len(digit) == 1 and digit.isdigit():
        return digit * REPEATS[word], 2
    if word in TENS:
        return (TENS[word] + digit, 2) if following in UNITS and digit != "0" else (TENS[word] + "0", 1)
    return ("@" if word == "at" else UNITS.get(word) or TEENS.get(word) or word), 1
