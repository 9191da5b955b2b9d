"""`expunge run`: the whole job, from a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from expunge.cli import options, show


def command(
    recipe: Annotated[Path, typer.Argument(help="A TOML file; see `expunge demo` and docs/recipe.md.")],
    out: options.Out,
    seed: Annotated[int | None, typer.Option(help="Instead of the recipe's seed.")] = None,
    reveal: options.Reveal = False,
    json: options.Json = False,
) -> None:
    """Judge, forget, audit and report, as a recipe says. Killed, the same command goes on from there."""
    from expunge.pipeline import run
    from expunge.recipe import read_recipe

    found = run(read_recipe(recipe, seed=seed), out, reveal=reveal, progress=show.progress(quiet=json))
    show.print_audit(found, out, as_json=json)
