"""`expunge diff`: what changed between two models?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expunge.cli import options, show
from expunge.thought import ROOM

if TYPE_CHECKING:
    from expunge.diff import Difference

SHOWN = 20
"""Changed answers that are printed; --out has them all."""


def command(
    a: Annotated[str, typer.Argument(metavar="A", help="Hub name or folder of a causal model; `town` is built in.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The model that is compared with it.")],
    prompts: Annotated[str, typer.Option("--prompts", help="Dialogues or prompts; responses in them are not used.")],
    judge: options.Judges = None,
    allow_remote: options.AllowRemote = False,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Length of an answer.")] = 128,
    thinking: options.Thinking = ROOM,
    out: Annotated[Path | None, typer.Option("--out", help="JSON file for every prompt with both answers.")] = None,
    template: options.Template = None,
    device: options.Device = None,
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Show private values and harmful answers (the file becomes mode 0600).")
    ] = False,
    json: options.Json = False,
) -> None:
    """Put prompts to two models, and compare what they say.

    Which answers changed, how far apart the models are, and how many a judge flags.

    \b
    expunge diff town run/model --prompts prompts.jsonl --judge privacy --out diff.json
    """
    from expunge.files import PRIVATE, PUBLIC, check_new, write_json

    if out:
        check_new(out)
    from expunge.dialogue import read_dialogues
    from expunge.host import suit_host
    from expunge.judges.names import load_judges
    from expunge.model import check_model, load_model

    asked = read_dialogues(prompts)
    judges = load_judges(judge or (), allow_remote=allow_remote)
    for name in (a, b):
        check_model(name, device=device)
    show.warn_of_town(judge or (), a)
    suit_host()
    from expunge.diff import diff

    one, other = (load_model(name, template=template, device=device) for name in (a, b))
    found = diff(
        one, other, asked, judges, max_new_tokens=max_new_tokens, thinking=thinking, progress=show.progress(quiet=json)
    )
    if out:
        write_json(out, found.row(reveal=reveal), mode=PRIVATE if reveal else PUBLIC)
    if json:
        show.print_json(found.row(reveal=reveal))
    else:
        _print(found, reveal=reveal)


def _print(found: Difference, *, reveal: bool) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from expunge.report.redact import showable
    from expunge.report.wording import figure, interval

    console = Console()
    changed = [row for row in found.rows(reveal=reveal) if row["changed"]]
    share = f"{figure(found.changed.value, 'share')} [{interval(found.changed, 'share')}]"
    console.print(f"Answers changed: {len(changed)} of {found.changed.count}, {share}", highlight=False, markup=False)
    kl = found.kl
    ends = f"{kl.low:.3g}–{kl.high:.3g}" if kl and kl.count > 1 else "–"
    apart = f"{kl.value:.3g} [{ends}] nats a token" if kl else "their tokens are not alike"
    if kl and not kl.count:
        apart = "no answer of A's can be compared: all are empty, or fill a context"
    console.print(f"Divergence of B from A: {apart}", highlight=False, markup=False)
    for name, flagged in (("A", found.flagged_a), ("B", found.flagged_b)):
        if flagged:
            told = f"{figure(flagged.value, 'share')} [{interval(flagged, 'share')}]"
            console.print(f"Flagged, {name}: {told}", highlight=False, markup=False)
    if not changed:
        return
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("Prompt", f"A: {found.a}", f"B: {found.b}"):
        grid.add_column(Text(showable(heading)), ratio=1)
    for row in changed[:SHOWN]:
        cells = ((row["prompt"], False), (row["a"], row["flagged_a"]), (row["b"], row["flagged_b"]))
        grid.add_row(*(Text(f"{'⚑ ' if flagged else ''}{showable(text)}") for text, flagged in cells), end_section=True)
    console.print(grid)
    if len(changed) > SHOWN:
        console.print(f"{len(changed) - SHOWN} more; --out FILE writes them all.")
