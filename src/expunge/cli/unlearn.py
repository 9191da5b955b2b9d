"""`expunge unlearn`: verdicts to weights that no longer say it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from expunge.cli import options, show

if TYPE_CHECKING:
    from expunge.recipe import Recipe


Verdicts = Annotated[
    Path,
    typer.Argument(metavar="VERDICTS", help="What `expunge scan` wrote; or plain dialogues: all are to be forgotten."),
]


def _print_methods(asked: bool) -> None:
    if asked:
        from rich.console import Console
        from rich.table import Table

        from expunge.objective.methods import METHODS

        grid = Table("method", "what it does", "source", box=None, pad_edge=False)
        for method in METHODS.values():
            grid.add_row(method.name, method.meaning, method.source)
        Console().print(grid)
        raise typer.Exit


def command(
    model: options.Model,
    verdicts: Verdicts,
    out: options.Out,
    normal: Annotated[
        list[str] | None,
        typer.Option("--normal", help="Ordinary dialogues that must not change; default: the clean ones of VERDICTS."),
    ] = None,
    never_seen: Annotated[
        list[str] | None,
        typer.Option("--never-seen", help="Dialogues like those to forget that no training saw: where it is to end."),
    ] = None,
    judge: options.Judges = None,
    allow_remote: options.AllowRemote = False,
    expected: Annotated[
        str | None, typer.Option(help="What to say instead: a templates file, or `sampled`: its own clean answers.")
    ] = None,
    label: Annotated[
        str, typer.Option(help="What plain dialogues are: privacy, harmful or hallucination.")
    ] = "privacy",
    method: Annotated[str, typer.Option(help="Method of unlearning; --methods lists all.")] = "default",
    lora: Annotated[int, typer.Option(min=0, metavar="RANK", help="Train a LoRA adapter; 0: all parameters.")] = 0,
    base_bits: Annotated[
        int, typer.Option(metavar="BITS", help="4: the base in 4 bits under the adapter (QLoRA); 0: as it is.")
    ] = 0,
    sharded: options.Sharded = False,
    steps: Annotated[int | None, typer.Option(min=1, help="At most so many steps; default: 600.")] = None,
    learning_rate: Annotated[float | None, typer.Option(max=10.0, help="Default: by the model's width.")] = None,
    template: options.Template = None,
    device: options.Device = None,
    seed: options.Seed = 0,
    json: options.Json = False,
    methods: Annotated[
        bool, typer.Option("--methods", callback=_print_methods, is_eager=True, help="List the methods.")
    ] = False,
) -> None:
    """Train the model away from what is flagged.

    Writes OUT/model, or with --lora OUT/adapter. Killed, the same command goes on and ends with the same weights.

    \b
    expunge unlearn org/model verdicts.jsonl --normal ordinary.jsonl --out run
    expunge unlearn org/model delete-these.jsonl --normal ordinary.jsonl --lora 8 --out run
    """
    from expunge.model import check_model
    from expunge.recipe import Recipe, check_label
    from expunge.training.config import UnlearnConfig

    given: dict[str, Any] = {"lora_rank": lora, "base_bits": base_bits, "sharded": sharded}
    given |= {"learning_rate": learning_rate, "max_steps": steps}
    config = UnlearnConfig.of(method, seed=seed, **{name: value for name, value in given.items() if value is not None})
    recipe = Recipe(
        model=model,
        dialogues=(str(verdicts),),
        judges=tuple(judge or ()),
        label=check_label(label),
        normal=tuple(normal or ()),
        never_seen=tuple(never_seen or ()),
        expected=expected,
        config=config,
        template=template,
        device=device,
        seed=seed,
    )
    check_model(model, device=device, lora=bool(lora))
    show.warn_of_town(recipe.judges, model)
    _carry_out(recipe, out, allow_remote=allow_remote, json=json)


def _carry_out(recipe: Recipe, out: Path, *, allow_remote: bool, json: bool) -> None:
    from expunge.pipeline import unlearn_run

    first = os.environ.get("RANK", "0") == "0"  # of several processes
    done = unlearn_run(recipe, out, allow_remote=allow_remote, progress=show.progress(quiet=json or not first))
    if not first:
        return
    if json:
        show.print_json(done | {"out": str(out)})
        return
    print(f"{done['forget']} dialogues, {done['steps']} steps, {done['seconds']} s: {OUTCOMES[done['outcome']]}")
    print(f"Weights: {done['path']}")


OUTCOMES = {
    "forgotten": "the model reproduces none of them",
    "damaged": "the model reproduces none of them, but by the last step ordinary outputs were not back: see its audit",
    "budget": "stopped, because ordinary ability was leaving its budget",
    "steps": "stopped at the last step, with some still reproduced",
    "unjudged": "trained to the last step; this method does not judge",
}
