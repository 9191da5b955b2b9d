"""The audit as tables for the terminal; they fit 80 columns and are readable without colour."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from expunge.audit.result import Audit, Measure
from expunge.report.redact import showable
from expunge.report.wording import GROUPS, change, claimed, figure, grouped, interval, told

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

_STYLES = {"better": "green", "worse": "bold red", "unclear": ""}
_SIGNS = {"better": "✓", "worse": "✗", "unclear": "~"}
_CAPTION = "[low–high]: 95% interval of after. ✓ better, ✗ worse, ~ unclear (intervals overlap)."


def table(audit: Audit) -> Table:
    """All measures, grouped: before → after [95 % interval], oracle, n. Columns that would be empty are left out."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    compared = any(m.before for m in audit.measures)
    known = any(m.oracle for m in audit.measures)
    grid = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
        title=Text(showable(f"Audit of {audit.model}"), style="bold"),
        title_justify="left",
        caption=Text(_CAPTION, style="dim") if compared else None,
        caption_justify="left",
    )
    grid.add_column("Measure", ratio=1, overflow="fold")
    figures = [*(("before →",) if compared else ()), "after", "[low–high]", *(("oracle",) if known else ()), "n"]
    for heading in (*figures, *(("",) if compared else ())):
        grid.add_column(Text(heading), justify="right", no_wrap=True)
    for group, measures in grouped(audit):
        grid.add_row(Text(GROUPS[group][0], style="bold"))
        for i, measure in enumerate(measures, start=1):
            grid.add_row(*_cells(measure, compared, known), end_section=i == len(measures))
    return grid


_OUTCOMES = {"PASS": "green", "FAIL": "bold red", "NOT SHOWN": "yellow"}


def verdict(audit: Audit) -> Table:
    """The outcome, and under it each claim: what was found, how it ends, and why."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    grid = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        title=Text(audit.outcome, style=_OUTCOMES[audit.outcome]),
        title_justify="left",
    )
    grid.add_column("Claim", ratio=3)
    grid.add_column("found", justify="right", no_wrap=True)
    grid.add_column("", no_wrap=True)
    grid.add_column("why", ratio=4)
    for claim in audit.claims:
        outcome = Text(claim.outcome, style=_OUTCOMES[claim.outcome])
        found = Text(claimed(claim, "value") + told(claim))
        grid.add_row(Text(claim.title), found, outcome, Text(claim.why, style="dim"))
    return grid


def _cells(measure: Measure, compared: bool, known: bool) -> Iterator[RenderableType]:
    from rich.padding import Padding
    from rich.text import Text

    found, unit, after = change(measure), measure.unit, measure.after
    style = _STYLES[found] if found else ""
    yield Padding(Text(showable(measure.title)), (0, 0, 0, 2))
    if compared:
        yield Text(f"{figure(measure.before.value, unit)} →" if measure.before else "")
    yield Text(figure(after.value, unit), style=style)
    yield Text(f"[{interval(after, unit).removesuffix(' steps').removesuffix(' nats')}]", style="dim")
    if known:
        yield Text(figure(measure.oracle.value, unit) if measure.oracle else "")
    yield Text(f"{after.count}", style="dim")
    if compared:
        yield Text(_SIGNS[found] if found else "", style=style)
