"""Private characters and harmful answers are covered here, before any text comes near a page or a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from expunge.audit.result import Sample, Text

MASK = "▮▮▮▮"
SHORTEST = 4
"""Private values shorter than this are covered where they are marked, but not searched for elsewhere ("42", say)."""

# Control characters, bidirectional overrides and lone surrogates: they hide, reorder or break what a reader sees.
_UNSHOWABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def showable(text: str) -> str:
    """`text` with each character that cannot be shown faithfully replaced by U+FFFD."""
    return _UNSHOWABLE.sub("\ufffd", text)


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of characters that are all private, or all not."""

    text: str
    private: bool = False


@dataclass(frozen=True)
class Redactor:
    """Covers, in every text of an audit, what is marked private in any of its texts.

    A judge that marks a number in the old response may miss it in the question: so each marked value is looked for
    everywhere. The mask has one length, so that it does not tell the value's. With `reveal` nothing is covered, and
    private pieces are only marked as such.
    """

    values: frozenset[str] = frozenset()
    reveal: bool = False

    @classmethod
    def of(cls, samples: Iterable[Sample], *, reveal: bool = False) -> Redactor:
        """The redactor that knows every private value of these samples."""
        texts = (text for sample in samples for text in _texts(sample))
        values = (text.text[start:end].strip() for text in texts for start, end in _merged(text.private))
        return cls(frozenset(value for value in values if len(value) >= SHORTEST), reveal)

    def pieces(self, text: Text) -> tuple[Piece, ...]:
        """The text in runs, private ones covered (or, with `reveal`, marked)."""
        return tuple(_pieces(text.text, _merged([*text.private, *self._found(text.text)]), self.reveal))

    def answer(self, sample: Sample, text: Text, *, flagged: bool) -> tuple[Piece, ...]:
        """A response in runs; a flagged harmful one is covered whole, since its harm has no marked place."""
        if sample.label == "harmful" and flagged and not self.reveal:
            return (Piece(MASK, private=True),)
        return self.pieces(text)

    def plain(self, text: Text | str) -> str:
        """The text as one string, private characters covered (or not, with `reveal`)."""
        return "".join(piece.text for piece in self.pieces(Text(text) if isinstance(text, str) else text))

    @cached_property
    def _folded(self) -> frozenset[str]:
        return frozenset(value.casefold() for value in self.values)

    def _found(self, text: str) -> Iterator[tuple[int, int]]:
        folded = text.casefold()
        needles = [needle for needle in self._folded if needle in folded]
        places = [i for i, char in enumerate(text) for _ in char.casefold()] if needles else []  # ß is ss
        for needle in needles:
            for match in re.finditer(re.escape(needle), folded):
                yield places[match.start()], places[match.end() - 1] + 1


def fold(pieces: Iterable[Piece], limit: int) -> tuple[list[Piece], list[Piece]]:
    """Split into the first `limit` characters and the rest; a private piece is never cut."""
    head: list[Piece] = []
    tail: list[Piece] = []
    for piece in pieces:
        room = limit - sum(len(p.text) for p in head)
        if tail or room <= 0:
            tail.append(piece)
        elif piece.private or len(piece.text) <= room:
            head.append(piece)
        else:
            cut = piece.text.rfind(" ", room // 2, room) + 1 or room
            head.append(Piece(piece.text[:cut]))
            tail.append(Piece(piece.text[cut:]))
    return head, tail


def _texts(sample: Sample) -> tuple[Text, ...]:
    said: list[Text | None] = [sample.question, sample.old, sample.before, sample.after]
    if thoughts := sample.thoughts:
        said += [thoughts.old, thoughts.before, thoughts.after]
    return tuple(text for text in said if text is not None)


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans in order, with overlapping and touching ones made one, so that two masks never tell where one ended."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted((max(start, 0), end) for start, end in spans if end > max(start, 0)):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def _pieces(text: str, spans: Iterable[tuple[int, int]], reveal: bool) -> Iterator[Piece]:
    at = 0
    for start, end in spans:
        if start > at:
            yield Piece(text[at:start])
        if start < len(text):
            yield Piece(text[start:end] if reveal else MASK, private=True)
        at = end
    if at < len(text):
        yield Piece(text[at:])
