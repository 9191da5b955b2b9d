"""`expunge run`: the whole job, from a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expunge.cli import options, show

if TYPE_CHECKING:
    from expunge.audit.result import Audit


def command(
    recipe: Annotated[
        Path, typer.Argument(metavar="RECIPE", help="A TOML file; see `expunge demo` and docs/recipe.md.")
    ],
    out: options.Out,
    seed: Annotated[int | None, typer.Option(min=0, max=options.SEEDS, help="Instead of the recipe's seed.")] = None,
    reveal: options.Reveal = False,
    allow_remote: options.AllowRemote = False,
    strict: options.Strict = False,
    json: options.Json = False,
) -> None:
    """Judge, forget, audit and report, as a recipe says.

    Killed, the same command goes on from there. Exits 1 where a claim of the audit fails.
    """
    show.gate(carry_out(recipe, out, seed, reveal=reveal, allow_remote=allow_remote, json=json), strict=strict)


def carry_out(
    recipe: Path, out: Path, seed: int | None, *, reveal: bool, allow_remote: bool = False, json: bool = False
) -> Audit:
    """Do what a recipe says, and print the audit."""
    from expunge.recipe import read_recipe

    what = read_recipe(recipe, seed=seed)
    from expunge.pipeline import run

    what.check_models(lora=bool(what.config.lora_rank))
    show.warn_of_town(what.judges, what.model)
    found = run(what, out, reveal=reveal, allow_remote=allow_remote, progress=show.progress(quiet=json))
    show.print_audit(found, out, as_json=json)
    return found
