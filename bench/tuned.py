"""Methods compared with the best of three learning rates each, and the table of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from expunge.comparison.compare import Cell, Comparison, compare
from expunge.comparison.page import write_page
from expunge.comparison.table import COLUMNS, figures, rows
from expunge.files import write_json
from expunge.recipe import Recipe
from expunge.training.config import UnlearnConfig

RATES = (1 / 3, 1, 3)


def compared(
    recipe: Recipe, entries: Mapping[str, UnlearnConfig], out: Path, *, seeds: int, relearn_rate: float | None = None
) -> list[str]:
    """Each entry with the best of three rates, by the first seed, then with all seeds; the lines of a table."""
    cells = out / "cells"
    chosen = {name: tried(recipe, name, config, cells, relearn_rate) for name, config in entries.items()}
    found = compare(recipe, chosen, cells, seeds=seeds, relearn_rate=relearn_rate)
    write_json(out / "comparison.json", found.row())
    write_page(found, out / "comparison.html")
    return table(found, {name: config.learning_rate for name, config in chosen.items()})


def tried(recipe: Recipe, name: str, config: UnlearnConfig, cells: Path, relearn_rate: float | None) -> UnlearnConfig:
    """With the best of three learning rates, by one seed; the default's is found already."""
    if config.method == "default" or config.learning_rate is None:
        return config
    rates = [config.learning_rate * factor for factor in RATES]
    configs = {f"{name} {rate:.2g}": replace(config, learning_rate=rate) for rate in rates}
    found = compare(recipe, configs, cells, seeds=1, relearn_rate=relearn_rate).cells
    return replace(config, learning_rate=max(zip(map(worth, found), rates, strict=True))[1])


def worth(cell: Cell) -> tuple[float, float]:
    """Overall; where a part of it is next to nothing, so that it says no more, the mean of the parts."""
    if cell.score is None:
        return -1.0, -1.0
    parts = [x for x in (cell.score.forgetting, cell.score.privacy, cell.score.ability) if x is not None]
    return (cell.score.overall if cell.score.overall > 0.05 else 0.0), fmean(parts)


def table(found: Comparison, rates: Mapping[str, float | None]) -> list[str]:
    """Medians with least and most, the best first; then what each column means."""
    columns = [name for name in COLUMNS if name in figures([found.original])]
    lines = [f"| method | rate | {' | '.join(columns)} | steps | 1,000 tokens |", "|---" * (len(columns) + 4) + "|"]
    for row in rows(found):
        cells = [str(row.figures.get(name, "–")) for name in columns]
        rate = rates[row.name]
        told = f"{rate:.2g}" if rate else "its own"
        lines.append(f"| {row.name} | {told} | {' | '.join(cells)} | {row.steps} | {row.tokens // 1000} |")
    for name, score in (("original", found.original), ("oracle", found.oracle)):
        cells = [str(value) for value in figures([score]).values()] if score else []
        lines.append(f"| {name} | | {' | '.join(cells)} | | |")
    return [*lines, "", *(f"- *{name}*: {meaning}." for name, meaning in COLUMNS.items() if name in columns), ""]
