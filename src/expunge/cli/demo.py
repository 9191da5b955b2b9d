"""`expunge demo`: the whole job on the built-in town."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from expunge.cli import options, run


def command(
    out: Annotated[Path, typer.Option("--out", help="Folder to write to.")] = Path("expunge-demo"),
    seed: options.Seed = 0,
    reveal: options.Reveal = False,
    json: options.Json = False,
) -> None:
    """Do the whole job on the built-in town model.

    It forgets residents' private data, wrong facts and harmful answers. Exits 0 whatever the audit says: it is there to
    show one, failed claims and all.
    """
    from expunge.demo import RECIPE

    run.carry_out(RECIPE, out, seed, reveal=reveal, json=json)  # its judges are all of this machine
