"""`expunge compare`: which method serves these dialogues best."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expunge.cli import options, show
from expunge.errors import FAULT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from expunge.comparison.compare import Comparison
    from expunge.comparison.table import Spread

SHOWN = ("overall", "privacy", "ability", "neighbours", "relearned", "rounded")
"""What fits into a terminal; the page has all."""


def command(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="As for `expunge run`: docs/recipe.md.")],
    out: options.Out,
    method: Annotated[
        list[str] | None, typer.Option("--method", help="One to compare; several times for several. Default: all.")
    ] = None,
    settings: Annotated[
        Path | None, typer.Option(help="TOML file with a table of settings for each: docs/compare.md.")
    ] = None,
    tuned: Annotated[
        list[Path] | None, typer.Option(help="Folder of an `expunge tune`: adds its method with the settings found.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="No training takes more; default: as the settings say.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each, with another seed each.")] = 3,
    relearn_rate: options.RelearnRate = None,
    allow_remote: options.AllowRemote = False,
    json: options.Json = False,
) -> None:
    """Train and score methods side by side.

    Killed, the same command goes on; what was done is not done again. Exits 70 where one failed by a fault of
    Expunge's, or for want of memory.

    \b
    expunge compare recipe.toml --method default --method npo --method rmu --out comparison
    """
    from expunge.comparison.entries import entries
    from expunge.recipe import read_recipe

    what = read_recipe(recipe)
    chosen = entries(method or [], settings, what.config, tuned=tuned or [], steps=steps)
    from expunge.comparison.compare import FAILED, compare
    from expunge.comparison.page import write_page
    from expunge.files import write_json

    what.check_models(lora=any(config.lora_rank for config in chosen.values()))
    found = compare(
        what, chosen, out, seeds=seeds, relearn_rate=relearn_rate, allow_remote=allow_remote,
        progress=show.progress(quiet=json),
    )  # fmt: skip
    write_json(out / "comparison.json", found.row())
    write_page(found, out / "comparison.html")
    if json:
        show.print_json(found.row())
    else:
        _print(found, out)
    if any(cell.outcome == FAILED for cell in found.cells):
        raise typer.Exit(FAULT)


def _print(found: Comparison, out: Path) -> None:
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    from expunge.comparison.table import figures, rows
    from expunge.report.redact import showable

    table = rows(found)
    shown = [name for name in SHOWN if any(name in row.figures for row in table)]
    columns = [Column(name, justify="right", no_wrap=True) for name in (*shown, "steps")]
    grid = Table(Column("method", overflow="fold"), *columns, box=None, pad_edge=False)
    for row in table:
        name = f"{row.name} ({row.seeds})" if row.seeds else row.name
        grid.add_row(Text(showable(name)), *_cells(row.figures, shown), str(row.steps))
    for name, score in (("original", found.original), ("oracle", found.oracle)):
        if score:
            grid.add_row(name, *_cells(figures([score]), shown))
    Console().print(grid)
    for row in table:
        for reason in row.broken:
            print(showable(f"{row.name}, {reason}"))
    print(f"Medians; with their range and all figures: {out / 'comparison.html'}")


def _cells(found: Mapping[str, Spread], shown: Sequence[str]) -> list[str]:
    return [f"{found[name].median:.3f}" if name in found else "–" for name in shown]
