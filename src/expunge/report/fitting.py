"""How much of each text a page has room for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from expunge.report.redact import Piece

CUT = " … (cut here; the whole is in samples.jsonl)"


def level(lengths: Sequence[int], room: int) -> int:
    """The most that each may take, so that all take no more than `room`; what short ones leave, long ones take."""
    left = room
    for place, length in enumerate(sorted(lengths)):
        share = left // (len(lengths) - place)
        if length > share:
            return share
        left -= length
    return max(lengths, default=0)


def sizes(pieces: Iterable[Piece]) -> int:
    """Bytes of a text in runs on a page."""
    return sum(size(piece.text) for piece in pieces)


def size(text: str) -> int:
    """Bytes of a text on a page."""
    escaped = sum(4 * text.count(mark) for mark in "<>&\"'")
    return len(text.encode("utf-8", "replace")) + escaped


def cut(pieces: Iterable[Piece], most: int) -> tuple[Piece, ...]:
    """The first `most` bytes of a text in runs; a private run is never cut."""
    kept: list[Piece] = []
    left = most
    for piece in pieces:
        if size(piece.text) > left:
            part = "" if piece.private else _first(piece.text, left)
            return (*kept, Piece(part + CUT))
        kept.append(piece)
        left -= size(piece.text)
    return tuple(kept)


def _first(text: str, most: int) -> str:
    """The longest beginning of at most so many bytes."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if size(text[:middle]) <= most else (low, middle - 1)
    return text[:low]
