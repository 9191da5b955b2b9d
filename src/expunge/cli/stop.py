"""Ctrl-C and SIGTERM: one line, and the process ends where it stands. All that is done is safe at any moment anyhow,
and nothing is waited for: no request under way, no other thread or process."""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from expunge.errors import ExpungeError
from expunge.files import exists

STOPPED = 128
"""Exit code, and the signal's number more."""

_FOLDER = "what was done is kept in {out}; the same command goes on from there"
_KEPT = {
    "scan": "what was judged is kept beside {out}; the same command goes on from there",
    "audit": "an audit is not kept half-done; the same command begins anew",
} | dict.fromkeys(("unlearn", "run", "demo", "compare", "tune"), _FOLDER)


class StoppedError(ExpungeError):
    """Ctrl-C where it is no signal of ours."""

    exit_code = STOPPED + signal.SIGINT


def stoppable(verb: str, command: Callable[..., None]) -> Callable[..., None]:
    """The command of this verb, to be ended by Ctrl-C (130) or SIGTERM (143). `review` ends by itself, and well."""

    @functools.wraps(command)
    def run(**given: Any) -> None:
        try:
            with _heeded(verb, given):
                command(**given)
        except KeyboardInterrupt:
            raise StoppedError(_told(verb, given)) from None

    return run


@contextmanager
def _heeded(verb: str, given: Mapping[str, Any]) -> Iterator[None]:
    def stop(number: int, frame: object) -> None:
        if os.environ.get("RANK", "0") == "0":  # of several processes
            bars = "\x1b[?25h\n" if sys.stderr.isatty() else ""  # shows the cursor, which they hide
            os.write(2, f"{bars}{_told(verb, given)}\n".encode())
        os._exit(STOPPED + number)

    wanted = [] if verb == "review" else [signal.SIGINT, signal.SIGTERM]
    before = {number: signal.getsignal(number) for number in wanted}
    before = {number: handler for number, handler in before.items() if handler not in (None, signal.SIG_IGN)}
    for number in before:  # not those that are ignored, as in the background of a script
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _told(verb: str, given: Mapping[str, Any]) -> str:
    out, kept = given.get("out"), _KEPT.get(verb, "nothing is left half-done; the same command begins anew")
    if verb != "scan" and "{out}" in kept and not (isinstance(out, Path) and exists(out)):
        kept = "nothing was done yet; the same command begins anew"
    if cache := given.get("cache"):
        kept += f", but for what is kept in {cache}"
    return f"stopped: {kept.format(out=out)}"
