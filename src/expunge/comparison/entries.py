"""What is compared: methods by name, and settings found for them, from a TOML file."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from expunge.errors import InputError
from expunge.files import exists, read_toml
from expunge.objective.methods import METHODS
from expunge.recipe import check_settings
from expunge.training.config import UnlearnConfig

SHARED = (
    "max_steps", "forget_rows", "normal_rows", "accumulation", "lora_rank", "dora", "base_bits", "modules",
    "checkpointing",
)  # fmt: skip
"""What the recipe gives to every method, where it says otherwise than its own: the budget, and what is trained."""


BEST = "best.toml"
"""The settings that a search has found, in its folder."""


def entries(
    names: Sequence[str],
    settings: Path | None,
    recipe: UnlearnConfig,
    *,
    tuned: Sequence[Path] = (),
    steps: int | None = None,
) -> dict[str, UnlearnConfig]:
    """What to compare, by name: `names`, or else those of the settings file, and those tuned; or else every method.

    settings: a table for each entry with fields of `UnlearnConfig`, its options in a table `options`; the entry's
        method is its `method`, or its name.
    tuned: folders of searches; each gives its method the settings that it found. steps: none takes more than so many.

    Raises:
        InputError: an unknown method or setting, or one method with settings of two sources.
    """
    tables = _tables(settings) if settings else {}
    files = dict.fromkeys(tables, settings)
    chosen = list(names) or list(tables)
    for folder in tuned:
        name, table = _found(folder)
        if name in tables:
            raise InputError(f"there are other settings for {name!r}", file=folder, remedy="Leave one of the two out.")
        tables[name], files[name] = table, folder / BEST
        chosen.append(name)
    plain = UnlearnConfig.of(recipe.method)
    budget = {key: getattr(recipe, key) for key in SHARED if getattr(recipe, key) != getattr(plain, key)}
    made = {name: _entry(name, tables.get(name, {}), files.get(name), budget) for name in chosen or METHODS}
    return {name: replace(c, max_steps=min(c.max_steps, steps)) if steps else c for name, c in made.items()}


def _found(folder: Path) -> tuple[str, dict[str, Any]]:
    """What a search has found: the method, and its settings."""
    path = folder / BEST
    if not exists(path):
        remedy = "Give the folder of an `expunge tune` that ended with an acceptable point."
        raise InputError(f"there is no {BEST} here", file=folder, remedy=remedy)
    table = _tables(path).get("unlearn", {})
    name = table.get("method")
    if not isinstance(name, str):
        raise InputError("it names no method", file=path, remedy='Begin it with [unlearn] and method = "NAME".')
    return name, table


def _tables(path: Path) -> dict[str, dict[str, Any]]:
    found = read_toml(path)
    loose = next((name for name, value in found.items() if not isinstance(value, dict)), None)
    if loose is not None:
        raise InputError(f"{loose!r} is in no table", file=path, remedy="Begin each entry with its name: [npo].")
    return found


def _entry(name: str, given: dict[str, Any], file: Path | None, budget: dict[str, Any]) -> UnlearnConfig:
    known = {field.name for field in dataclasses.fields(UnlearnConfig)} - {"seed"}
    foreign = next((key for key in given if key not in known), None)
    if foreign is not None:
        raise InputError(
            f"[{name}]: unknown setting {foreign!r}", file=file, remedy=f"Known: {', '.join(sorted(known))}."
        )
    try:
        return UnlearnConfig.of(**{"method": name, **budget, **check_settings(given)})
    except InputError as error:
        raise InputError(f"[{name}]: {error.message}", file=file if given else None, remedy=error.remedy) from None
