"""What the verbs print: results on stdout, progress on stderr and only at a terminal."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expunge.progress import Advance, Progress, Quiet

if TYPE_CHECKING:
    from expunge.audit.result import Audit


class Bars:
    """Progress bars on stderr."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)

    @contextlib.contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[Advance]:
        from rich import progress

        columns = (
            progress.TextColumn("{task.description:<16}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
        )
        with progress.Progress(*columns, console=self._console) as bars:
            task = bars.add_task(name, total=total)
            yield lambda count: bars.advance(task, count)

    def note(self, text: str) -> None:
        self._console.print(text, markup=False)


def progress(*, quiet: bool = False) -> Progress:
    """Bars at a terminal; nothing elsewhere."""
    return Bars() if sys.stderr.isatty() and not quiet else Quiet()


def warn_of_town(judges: Sequence[str], model: str) -> None:
    """On stderr, wherever that goes: to judges that know the built-in town alone other faults are clean."""
    from expunge.judges.names import BUILT_IN

    named = [name for name in judges if name in BUILT_IN and BUILT_IN[name].town and name != "privacy"]  # has its forms
    if not named:
        return
    from expunge.model import BUILT_IN as TOWNS  # imports torch

    if model not in TOWNS:
        told = "a judge without =SOURCE knows the built-in town alone, and finds other faults clean"
        print(f"warning: {', '.join(named)}: {told}", file=sys.stderr)


def print_json(value: Any) -> None:
    """The result for scripts, on stdout."""
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def print_audit(audit: Audit, folder: Path, *, as_json: bool) -> None:
    """The figures and the claims as tables, and where the report is; or `audit.json` as it is."""
    if as_json:
        print((folder / "audit.json").read_text(encoding="utf-8"), end="")
        return
    from rich.console import Console

    from expunge.report import table, verdict

    console = Console()
    console.print(table(audit))
    console.print(verdict(audit))
    if (folder / "report.html").exists():
        console.print(f"Report: {folder / 'report.html'}", soft_wrap=True, markup=False)


def gate(audit: Audit, *, strict: bool) -> None:
    """End with exit code 1 where a claim fails; `strict`: where one does not pass."""
    import typer

    if audit.outcome == "FAIL" or (strict and audit.outcome != "PASS"):
        raise typer.Exit(1)
