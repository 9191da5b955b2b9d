"""What is compared: methods by name, and settings found for them, from a TOML file."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from expunge.errors import InputError
from expunge.files import read_text
from expunge.objective.methods import METHODS
from expunge.training.config import UnlearnConfig

SHARED = ("max_steps", "forget_rows", "normal_rows", "accumulation", "lora_rank", "dora", "modules")
"""What the recipe gives to every method, where it says otherwise than the default: the budget, and what is trained."""


def entries(names: Sequence[str], settings: Path | None, recipe: UnlearnConfig) -> dict[str, UnlearnConfig]:
    """What to compare, by name: `names`, those of the settings file, or every method where neither says any.

    settings: a table for each entry with fields of `UnlearnConfig`, its options in a table `options`; the entry's
        method is its `method`, or its name.

    Raises:
        InputError: an unknown method or setting.
    """
    tables = _tables(settings) if settings else {}
    chosen = tuple(names) or tuple(tables) or tuple(METHODS)
    plain = UnlearnConfig()
    budget = {key: getattr(recipe, key) for key in SHARED if getattr(recipe, key) != getattr(plain, key)}
    return {name: _entry(name, tables.get(name, {}), budget, settings) for name in chosen}


def _tables(path: Path) -> dict[str, dict[str, Any]]:
    try:
        found = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"not valid TOML: {error}", file=path) from None
    loose = next((name for name, value in found.items() if not isinstance(value, dict)), None)
    if loose is not None:
        raise InputError(f"{loose!r} is in no table", file=path, remedy="Begin each entry with its name: [npo].")
    return found


def _entry(name: str, given: dict[str, Any], budget: dict[str, Any], file: Path | None) -> UnlearnConfig:
    known = {field.name for field in dataclasses.fields(UnlearnConfig)} - {"seed"}
    foreign = next((key for key in given if key not in known), None)
    if foreign is not None:
        raise InputError(
            f"[{name}]: unknown setting {foreign!r}", file=file, remedy=f"Known: {', '.join(sorted(known))}."
        )
    terms = {"terms": tuple(given["terms"])} if "terms" in given else {}
    try:
        return UnlearnConfig.of(**{"method": name, **budget, **given, **terms})
    except InputError as error:
        raise InputError(f"[{name}]: {error.message}", file=file if given else None, remedy=error.remedy) from None
    except TypeError:
        raise InputError(f"[{name}]: a setting has the wrong type", file=file) from None
