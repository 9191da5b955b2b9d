from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from madeup import share
from rich.console import Console

from expunge.audit.result import Audit, Estimate
from expunge.cli import show
from expunge.report import table, write_report
from expunge.report.terminal import verdict

Fake = Callable[..., Audit]


def printed(audit: Audit, width: int = 80) -> str:
    console = Console(file=StringIO(), width=width, color_system=None)
    console.print(table(audit))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_eighty_columns_hold_every_figure(fake: Fake) -> None:
    audit = fake(measures=tuple(replace(m, title=f"{m.title} and a good deal more of it") for m in fake().measures))
    lines = printed(audit).splitlines()
    assert max(map(len, lines)) <= 80
    assert any("97.2% →" in line and "0.5%" in line and "[0.0–1.7%]" in line and "✓" in line for line in lines)
    assert "…" not in "".join(lines)


def test_a_unit_takes_no_room_from_the_names(fake: Fake) -> None:
    """ "[0.003–0.011 nats]" left sixteen columns to the names of measures, whose long words were cut."""
    found = replace(
        fake().measure("oracle_distance"), title="Flagged answers: hallucination", unit="nats", oracle=share(0.5, 400)
    )
    assert "[0.036–0.047]" in printed(fake(measures=(found,))) and "0.041 nats" in printed(fake(measures=(found,)))
    long = replace(found, title="Hallucination" * 5)
    assert "…" not in printed(fake(measures=(long,)))


def test_a_folder_is_named_as_it_is(fake: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of "run[b]" the end was taken for bold type, and left out."""
    folder = tmp_path / "run[b]"
    write_report(fake(), folder / "report.html")
    show.print_audit(fake(), folder, as_json=False)
    assert str(folder / "report.html") in capsys.readouterr().out


def test_what_was_lost_is_called_lost(fake: Fake) -> None:
    """ "Neighbours are kept 92.5%" was said where 92.5 % of them were lost."""
    console = Console(file=StringIO(), width=120, color_system=None)
    console.print(verdict(fake()))
    assert isinstance(console.file, StringIO)
    (line,) = [line for line in console.file.getvalue().splitlines() if "Ability is kept" in line]
    assert "% lost" in line and "gain" not in line


def test_a_loss_below_zero_is_called_a_gain(fake: Fake) -> None:
    """ "-8.6% lost" had to be worked out."""
    gained = [replace(c, found=Estimate(-0.086, -0.132, -0.03, 197)) for c in fake().claims if c.name == "ability"]
    console = Console(file=StringIO(), width=120, color_system=None)
    console.print(verdict(fake(claims=tuple(gained))))
    assert isinstance(console.file, StringIO)
    assert "-8.6% lost (a gain)" in console.file.getvalue()


def test_groups_are_named_in_order(fake: Fake) -> None:
    text = printed(fake())
    places = [text.index(f"\n {name}") for name in ("Forgetting", "Ability", "Neighbours", "Fluency", "Against the")]
    assert places == sorted(places)


def test_columns_without_figures_are_left_out(fake: Fake) -> None:
    text = printed(fake(measures=tuple(replace(m, before=None, oracle=None) for m in fake().measures)))
    assert "before" not in text
    assert "oracle" not in text.splitlines()[2]
    assert "0.5%" in text
    assert printed(fake(measures=()))


def test_names_are_neither_markup_nor_control_codes(fake: Fake) -> None:
    (first, *_) = fake().measures
    text = printed(fake(model="[bold]m[/bold]\x1b[2J", measures=(replace(first, title="[red]x[/nope]\x1b[0m"),)))
    assert "[bold]m[/bold]" in text
    assert "[red]x[/nope]" in text
    assert "\x1b" not in text
