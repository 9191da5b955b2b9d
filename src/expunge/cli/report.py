"""`expunge report`: an audit as a page and a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from expunge.cli import options, show


def command(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of a run or an audit.")],
    reveal: options.Reveal = False,
    json: options.Json = False,
) -> None:
    """Write a folder's report.html anew, and print its figures."""
    from expunge.audit.result import read_audit
    from expunge.report import write_report

    found = read_audit(folder)
    write_report(found, folder / "report.html", reveal=reveal)
    show.print_audit(found, folder, as_json=json)
