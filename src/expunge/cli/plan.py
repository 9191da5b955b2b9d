"""`expunge plan`: what an unlearning will take, before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expunge.cli import options, show

if TYPE_CHECKING:
    from expunge.planning.plan import Option, Plan


def command(
    model: options.Model,
    recipe: Annotated[
        Path | None,
        typer.Argument(metavar="[RECIPE]", help="A TOML file, whose settings, rows and lengths are taken."),
    ] = None,
    gpu: Annotated[
        str | None,
        typer.Option(
            help="h200, h100, h100-pcie, a100-80, a100-40, l40s, l4, 4090 or 3090; default: the machine at hand."
        ),
    ] = None,
    gpus: Annotated[int, typer.Option(min=1, help="GPUs that share weights and work (unlearn --sharded).")] = 1,
    forget: Annotated[
        int | None, typer.Option(min=1, metavar="ROWS", help="Dialogues to forget; default: 100.")
    ] = None,
    normal: Annotated[
        int | None, typer.Option(min=1, metavar="ROWS", help="Ordinary dialogues; default: 1000.")
    ] = None,
    prompt: Annotated[
        int | None, typer.Option(min=1, metavar="TOKENS", help="Mean length of a prompt; default: 128.")
    ] = None,
    response: Annotated[
        int | None, typer.Option(min=1, metavar="TOKENS", help="Mean length of a response; default: 128.")
    ] = None,
    lora: Annotated[int | None, typer.Option(min=1, metavar="RANK", help="Rank of the adapters; default: 8.")] = None,
    accumulation: Annotated[int | None, typer.Option(min=1, help="Parts in which a step is computed.")] = None,
    json: options.Json = False,
) -> None:
    """Say whether an unlearning will fit, and how long it takes.

    Peak memory, term by term, and time, from the model's config.json (and its tokenizer, with a recipe) alone; all
    ways side by side.

    \b
    expunge plan org/model --gpu h100 --forget 200 --normal 5000 --prompt 150 --response 250
    expunge plan org/model recipe.toml
    """
    import dataclasses

    from expunge.planning.lengths import CHARACTERS, by_characters, by_tokenizer
    from expunge.planning.machine import machine_of
    from expunge.planning.plan import plan
    from expunge.planning.sizes import read_sizes
    from expunge.planning.workload import Workload, workload_of
    from expunge.recipe import read_recipe
    from expunge.training.config import UnlearnConfig

    sizes = read_sizes(model)
    config, work, guess = UnlearnConfig(), Workload(), ""
    if recipe:
        read = read_recipe(recipe)
        exact = by_tokenizer(model, read.template)
        guess = "" if exact else f", at {CHARACTERS} characters a token for want of a tokenizer"
        config, work = read.config, workload_of(read, work, exact or by_characters)
    if accumulation:
        config = dataclasses.replace(config, accumulation=accumulation)
    asked = {"forget": forget, "normal": normal, "prompt": prompt, "response": response}
    work = dataclasses.replace(work, **{name: value for name, value in asked.items() if value})
    found = plan(sizes, work, config, machine_of(gpu), rank=lora or config.lora_rank or 8, processes=gpus)
    if json:
        show.print_json(found.row())
    else:
        _print(model, found, guess)


def _print(model: str, found: Plan, guess: str) -> None:
    import dataclasses

    sizes, work, config, machine = found.sizes, found.work, found.config, found.machine
    print(f"{model}: {sizes.kind}, {sizes.parameters:,} parameters, {sizes.dtype}")
    count = f"each of {found.processes}, which share the weights out: " if found.processes > 1 else ""
    print(f"{machine.name}: {count}{_size(machine.memory)}, {_size(machine.room)} of it for this")
    lengths = f"{work.prompt} + {work.response} tokens (prompt + response){guess}"
    print(f"up to {work.forget} dialogues to forget, {work.normal} ordinary ones, of {lengths}")
    step = work.step(dataclasses.replace(config, accumulation=1))
    rows = f"{step.pushed} pushed away, {step.taught} taught, {step.kept} kept"
    print(f"a step: {rows}; accumulation {config.accumulation}")
    print(f"on disk, while it trains: {_size(found.disk)} of what the original makes of the dialogues\n")
    half = len(found.options) // 2
    plain, spared = found.options[:half], found.options[half:]
    _line("GiB", (option.name for option in plain))
    for name in plain[0].memory.terms:
        _line(name, (_gib(option.memory.terms[name]) for option in plain))
    _line("peak", (_gib(option.memory.peak) for option in plain))
    _line("fits", map(_fits, plain))
    _line("with checkpointing", (_gib(option.memory.activations) for option in spared))
    _line("  peak", (_gib(option.memory.peak) for option in spared))
    _line("  fits", map(_fits, spared))
    _line("a step, estimated", (_time(option.duration.step) for option in plain))
    _line(f"{config.max_steps} steps, at most", (_time(option.duration.most) for option in plain))
    print(f"\nTimes are estimates: {machine.used:.0%} of the machine's rate is taken to be reached.")
    if found.processes > 1:
        print("What the GPUs send each other is not counted. They are `accelerate launch … unlearn … --sharded`.")
    else:
        print("QLoRA is `expunge unlearn … --lora RANK --base-bits 4`.")
    print(_choice(found))


def _line(name: str, cells: Iterable[str]) -> None:
    print(f"{name:<24}" + "".join(f"{cell:>12}" for cell in cells))


def _choice(found: Plan) -> str:
    option = found.first
    if option is None:
        return "Nothing fits."
    settings = [] if option.fits else [f"accumulation = {option.accumulation}"]
    settings += ["checkpointing = true"] if option.way.checkpointing else []
    needs = f" (in a recipe's [unlearn]: {', '.join(settings)})" if settings else ""
    return f"The first that fits: {option.name}{needs}."


def _fits(option: Option) -> str:
    return "yes" if option.fits else f"in {option.accumulation} parts" if option.accumulation else "no"


def _gib(size: float) -> str:
    return f"{size / 2**30:,.2f}"


def _size(size: float) -> str:
    return f"{size / 2**30:,.1f} GiB"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
