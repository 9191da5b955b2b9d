"""`expunge merge`: the shards of a scan to one file of verdicts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from expunge.cli import options, show


def command(
    out: Annotated[Path, typer.Argument(metavar="VERDICTS", help="The --out that the shards were written with.")],
    json: options.Json = False,
) -> None:
    """Join the shards of a scan, in the order of the source.

    Refuses if one is missing, unfinished, changed or of another scan.

    \b
    expunge merge verdicts.jsonl
    """
    from expunge.scan.merge import merge

    rows = merge(out)
    if json:
        show.print_json({"dialogues": rows, "out": str(out)})
    else:
        print(f"{rows} verdicts: {out}")
