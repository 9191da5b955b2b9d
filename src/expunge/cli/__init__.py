"""The command `expunge`: one thin file a verb. Nothing heavy is imported before a verb runs."""

from __future__ import annotations

import os
import sys

import typer

from expunge import __version__
from expunge.cli import (
    audit,
    bench,
    calibrate,
    compare,
    demo,
    diff,
    merge,
    plan,
    report,
    review,
    run,
    scan,
    tune,
    unlearn,
)
from expunge.cli.stop import StoppedError, stoppable
from expunge.errors import FAULT, ExpungeError, InputError, place_of
from expunge.files import at_home

app = typer.Typer(
    name="expunge",
    help="Find what a language model should not say, make it stop, keep everything else, and prove it.",
    epilog="Begin with: expunge demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

for verb in (scan, merge, calibrate, review, plan, unlearn, audit, report, diff, compare, tune, run, demo):
    name = verb.__name__.rpartition(".")[2]
    app.command(name=name)(stoppable(name, verb.command))
benchmarks = typer.Typer(help="Measure a model on a benchmark of the field.", no_args_is_help=True)
for measured in bench.COMMANDS:
    benchmarks.command()(stoppable("bench", measured))
app.add_typer(benchmarks, name="bench")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"expunge {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    pass


_QUIET = "ignore::UserWarning:multiprocessing.resource_tracker"
"""The locks of workers whose command was stopped: it frees them, and says so."""


def main() -> None:
    """Run the command. Faults of input are one message on stderr, exit code 2; faults of ours exit 70, Ctrl-C 130,
    SIGTERM 143."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("PYTHONWARNINGS", _QUIET)
    try:
        app(_given(sys.argv[1:]))
    except ExpungeError as error:
        typer.echo(str(error) if isinstance(error, StoppedError) else f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except Exception as error:
        if os.environ.get("EXPUNGE_DEBUG"):
            raise
        sys.exit(_internal(error))


def _given(words: list[str]) -> list[str]:
    """Raises: InputError: one is empty: a path would be the folder where one stands, and an option none."""
    for before, word in zip(["", *words], words, strict=False):
        if not word or (word.endswith("=") and word.startswith("--")):
            name = word.rstrip("=") or before
            remedy = "Perhaps a variable of the shell is not set."
            raise InputError(f"an argument is empty{f', after {name!r}' if name else ''}", remedy=remedy)
    return [at_home(word) for word in words]


def _internal(error: Exception) -> int:
    """A fault of ours: where it happened, and not its message, which may quote a dialogue."""
    typer.echo(f"internal error: {type(error).__name__} at {place_of(error)}", err=True)
    typer.echo("  Set EXPUNGE_DEBUG=1 for the traceback, which may quote dialogues.", err=True)
    return FAULT
