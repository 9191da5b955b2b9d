"""`expunge tune`: which settings of a method serve these dialogues best."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expunge.cli import options, show

if TYPE_CHECKING:
    from expunge.comparison.score import Score
    from expunge.comparison.tune import Tuning


def command(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="As for `expunge run`: docs/recipe.md.")],
    out: options.Out,
    method: Annotated[str, typer.Option("--method", help="Whose settings; `expunge unlearn --methods` lists all.")],
    trials: Annotated[int, typer.Option(min=1, help="Trainings in all, with those of earlier calls.")] = 20,
    seed: Annotated[int | None, typer.Option(min=0, max=options.SEEDS, help="Instead of the recipe's seed.")] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="No training takes more; default: as the recipe says.")
    ] = None,
    relearn_rate: options.RelearnRate = None,
    allow_remote: options.AllowRemote = False,
    json: options.Json = False,
) -> None:
    """Search for settings that leak little and keep ability.

    Killed, the same command goes on. Exits 1 where none of them keeps enough and forgets.

    \b
    expunge tune recipe.toml --method npo --trials 20 --out tuned-npo
    expunge compare recipe.toml --method default --tuned tuned-npo --out comparison
    """
    from dataclasses import replace

    from expunge.comparison.entries import entries
    from expunge.recipe import read_recipe

    what = read_recipe(recipe, seed=seed)
    config = replace(entries([method], None, what.config, steps=steps)[method], seed=what.seed)
    from expunge.comparison.tune import tune

    what.check_models(lora=bool(config.lora_rank))
    found = tune(
        what, config, out, trials=trials, relearn_rate=relearn_rate, allow_remote=allow_remote,
        progress=show.progress(quiet=json),
    )  # fmt: skip
    if json:
        show.print_json(found.row())
    else:
        _print(found, out)
    if found.best is None:
        raise typer.Exit(1)


def _print(found: Tuning, out: Path) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    from expunge.comparison.entries import BEST
    from expunge.comparison.trials import KEPT, RULE

    near = found.original.neighbours is not None
    sought = ["leak", "ability", *(["neighbours"] if near else []), "overall"]
    columns = [Column(name, justify="right", no_wrap=True) for name in ("trial", *sought)]
    grid = Table(*columns, "settings", box=None, pad_edge=False)
    beaten = [found.best] if found.best is not None and found.best not in found.front else []
    for i in [*found.front, *beaten]:
        trial = found.trials[i]
        assert trial.score is not None
        settings = ", ".join(f"{name} {value:.3g}" for name, value in trial.values.items())
        grid.add_row(f"→ {i}" if i == found.best else str(i), *_figures(trial.score), settings)
    grid.add_row("original", *_figures(found.original))
    broken = sum(trial.score is None for trial in found.trials)
    but = "; the taken one is beaten, but not overall" if beaten else ""
    print(f"{len(found.trials)} trials, {broken} of them given up or diverged; no other trial beats these{but}:")
    Console().print(grid)
    if found.best is None:
        print(f"No acceptable point: none keeps {KEPT:.0%} of ability, and of that on neighbours, and forgets.")
        return
    print(f"Taken: trial {found.best}: {RULE}.\nSettings: {out / BEST}")


def _figures(score: Score) -> list[str]:
    from expunge.comparison.trials import objectives

    kept, *more = objectives(score)
    return [f"{value:.3f}" for value in (abs(kept), *more, score.overall)]
