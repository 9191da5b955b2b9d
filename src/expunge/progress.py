"""How far a long piece of work has come: one small Protocol between the steps and whoever shows it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

Advance = Callable[[int], None]
"""Called with the number of units just done."""


class Progress(Protocol):
    """Whoever shows how far the work is."""

    def stage(self, name: str, total: int | None) -> AbstractContextManager[Advance]:
        """Begin a piece of work of `total` units (None: not known); the function given advances it."""
        ...

    def note(self, text: str) -> None:
        """Say one line."""
        ...


class Quiet:
    """Shows nothing."""

    @contextlib.contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[Advance]:
        yield lambda count: None

    def note(self, text: str) -> None:
        pass
