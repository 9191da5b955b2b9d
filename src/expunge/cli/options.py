"""Options that several verbs share, worded once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="Hub name or folder of a causal model; `town` is built in.")
]
Out = Annotated[Path, typer.Option("--out", help="Folder to write to.")]
Judges = Annotated[
    list[str] | None,
    typer.Option(
        "--judge",
        metavar="NAME[=SOURCE]",
        help="Such as privacy=FILE, facts=FILE, harm=MODEL, judges.toml or file.py:Name; docs/judging.md has all. "
        "Several times for several.",
    ),
]
AllowRemote = Annotated[
    bool,
    typer.Option(
        "--allow-remote", help="Let remote judges send dialogues to their servers; needed with every command."
    ),
]
Template = Annotated[
    str | None,
    typer.Option("--template", help="Chat template: a Jinja file, or `plain` (Question: … Answer: …)."),
]
Device = Annotated[str | None, typer.Option("--device", help="cpu, cuda, …; default: the first accelerator.")]
SEEDS = 2**32 - 1
SAMPLES = 10_000
Seed = Annotated[int, typer.Option("--seed", min=0, max=SEEDS, help="Seed of every random draw.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Reveal = Annotated[
    bool, typer.Option("--reveal", help="Show private values in the report (its file becomes mode 0600).")
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit 1 where a claim is NOT SHOWN too, not only on FAIL.")]
RelearnRate = Annotated[
    float | None, typer.Option(min=1e-9, max=1.0, help="Learning rate of the relearning attack; default: by the width.")
]
Sharded = Annotated[
    bool, typer.Option("--sharded", help="Under `accelerate launch`: each process holds a part of the weights.")
]
Thinking = Annotated[
    int, typer.Option(min=0, help="Tokens that a model which thinks first may think for; 0: it answers right away.")
]
