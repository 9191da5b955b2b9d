"""Long texts in overlapping pieces that each fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator

OVERLAP = 8  # neighbouring windows share an eighth
LEAST = 8  # characters, at which a piece is taken as it is


def windows(text: str, fits: Callable[[str], bool]) -> Iterator[str]:
    """The text, or overlapping halves of it, and of these, until each fits."""
    if len(text) <= LEAST or fits(text):
        yield text
        return
    half, shared = len(text) // 2, len(text) // (2 * OVERLAP)
    yield from windows(text[: half + shared], fits)
    yield from windows(text[half - shared :], fits)
