"""Every fault that a user can cause or cure, as one tree.

ExpungeError                 exit code 1
└── InputError               exit code 2: a file, a row, a name or a setting is wrong
    ├── MissingExtraError    an optional dependency is not installed
    ├── OutputError          the place to write to cannot be used, or holds something else
    └── UnansweredError      a server gives no answers
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

FAULT = 70
"""Exit code of a fault of ours (EX_SOFTWARE of sysexits.h), so that no pipeline takes it for a failed claim: those exit
1."""


class ExpungeError(Exception):
    """A fault with one clear message and, where there is one, a remedy."""

    exit_code = 1

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  {self.remedy}" if self.remedy else self.message


class InputError(ExpungeError):
    """What the user gave cannot be used.

    `file` and `line` (1-based) say where; the message never quotes dialogue text, which may be private.
    """

    exit_code = 2

    def __init__(
        self, message: str, *, file: str | Path | None = None, line: int | None = None, remedy: str = ""
    ) -> None:
        where = f"{file}:{line}: " if file is not None and line is not None else f"{file}: " if file is not None else ""
        super().__init__(where + message, remedy=remedy)
        self.file = file
        self.line = line


class MissingExtraError(InputError):
    """An optional dependency is needed and not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the package {package!r}", remedy=f"pip install 'expunge[{extra}]'")


class OutputError(InputError):
    """The output path cannot be written, or writing would overwrite something."""


class UnansweredError(InputError):
    """A server that is asked refuses the key, does not know the model, or gives no answers."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """What to say after a name that is unknown, with a space before it; nothing where it is like none that is known."""
    close = get_close_matches(name, known, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def place_of(error: BaseException) -> str:
    """Where it was raised, as file:line; its message, which may quote a dialogue, is not told."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
