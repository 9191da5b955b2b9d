"""What keeps two runs out of one folder, by name: settings that are others, and files that have changed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

SHOWN = 5
LONG = 160
"""Characters of a value that are shown."""
_DIGEST = re.compile(r"(.*, )?[0-9a-f]{12,}")
_NOTHING = object()


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, str]:
    """What differs between two tables of JSON values: of each key at fault, in words, what it was and what it is.

    A table in a table is read as keys with a dot. Of values that are digests it is only said that they are others.
    """
    before, after = _flat(json.loads(json.dumps(old))), _flat(json.loads(json.dumps(new)))
    names = [name for name in {**before, **after} if before.get(name, _NOTHING) != after.get(name, _NOTHING)]
    return {name: _told(name, before.get(name, _NOTHING), after.get(name, _NOTHING)) for name in names}


def in_one_line(texts: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    more = [f"and {len(texts) - SHOWN} more"] if len(texts) > SHOWN else []
    return "; ".join([*texts[:SHOWN], *more])


def _flat(table: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in table.items():
        found |= _flat(value, f"{before}{name}.") if isinstance(value, dict) else {before + name: value}
    return found


def _told(name: str, before: Any, after: Any) -> str:
    if all(isinstance(value, str) and _DIGEST.fullmatch(value) for value in (before, after)):
        return f"{name} has changed"
    if before is _NOTHING or after is _NOTHING:
        return f"{name} is new" if before is _NOTHING else f"{name} is gone"
    return f"{name} was {_shown(before)}, is {_shown(after)}"


def _shown(value: Any) -> str:
    text = "not given" if value is None or value == [] else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONG else text[: LONG - 1] + "…"
