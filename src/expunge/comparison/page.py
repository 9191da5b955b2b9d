"""A comparison as one page that opens offline: the picture, and the table behind it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from expunge.comparison.compare import Comparison
from expunge.comparison.table import COLUMNS, Row, Spread, figures, front, rows
from expunge.files import write_text

_HERE = Path(__file__).parent
WIDTH, HEIGHT, MARGIN = 640, 400, 48


@dataclass(frozen=True, slots=True)
class Dot:
    """One entry in the picture: its median, and the range over seeds, in the picture's own units."""

    label: str
    title: str
    kind: str
    x: float
    y: float
    left: float
    right: float
    top: float
    bottom: float


def write_page(found: Comparison, path: Path) -> Path:
    """Write it, and return its path.

    Raises:
        OutputError: the path cannot be written.
    """
    write_text(path, page(found))
    return path


def page(found: Comparison) -> str:
    """The page as HTML."""
    from jinja2 import Environment, FileSystemLoader

    table = rows(found)
    ends = [("original", figures([found.original]))]
    drawn = [*(row.figures for row in table if row.figures), ends[0][1]]
    leak = "relearned" if all("relearned" in each for each in drawn) else "probability"
    if found.oracle:
        ends.append(("oracle", figures([found.oracle])))
    dots, line = _picture(table, ends, leak)
    template = Environment(loader=FileSystemLoader(_HERE), autoescape=True, trim_blocks=True).get_template(
        "page.html.j2"
    )
    shown = {name: text for name, text in COLUMNS.items() if any(name in row.figures for row in table)}
    return template.render(
        rows=table, ends=ends, columns=shown, dots=dots, line=line, leak=COLUMNS[leak],
        width=WIDTH, height=HEIGHT, margin=MARGIN, ticks=[i / 5 for i in range(6)], at=_at,
    )  # fmt: skip


def _picture(table: list[Row], ends: list[tuple[str, dict[str, Spread]]], leak: str) -> tuple[list[Dot], str]:
    """Dots, numbered as in the table, and the line through those that none beats."""
    whole = [row for row in table if row.figures]
    points = [(row.figures["ability"].median, row.figures[leak].median) for row in whole]
    best = set(front([(ability, -leaked) for ability, leaked in points]))
    dots = [
        _dot(str(table.index(row) + 1), row.name, "best" if i in best else "other", row.figures, leak)
        for i, row in enumerate(whole)
    ]
    dots += [_dot("", name, name, found, leak) for name, found in ends]
    line = " ".join("{:.1f},{:.1f}".format(*_at(*points[i])) for i in sorted(best, key=lambda i: points[i]))
    return dots, line


def _dot(label: str, name: str, kind: str, found: dict[str, Spread] | object, leak: str) -> Dot:
    assert isinstance(found, dict)
    ability, leaked = found["ability"], found[leak]
    (x, y), (left, top), (right, bottom) = (
        _at(a, b)
        for a, b in (
            (ability.median, leaked.median),
            (ability.low, leaked.high),
            (ability.high, leaked.low),
        )
    )
    title = f"{name}: ability {ability}, leak {leaked}"
    return Dot(label, title, kind, x, y, left, right, top, bottom)


def _at(ability: float, leak: float) -> tuple[float, float]:
    """Where in the picture: ability to the right, leak upward, both from 0 to 1."""
    return MARGIN + ability * (WIDTH - 2 * MARGIN), HEIGHT - MARGIN - leak * (HEIGHT - 2 * MARGIN)
