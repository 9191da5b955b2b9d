"""Probes by name, without importing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from expunge.errors import InputError

PROBES: Mapping[str, str] = {
    "likelihood": "likelihood:likelihood",
    "membership": "membership:membership",
    "depth": "depth:depth",
    "thinking": "thinking:thinking",
    "prompts": "attacks:prompts",
    "quantization": "quantization:quantization",
    "relearning": "relearning:relearning",
}
"""Name, and the function that runs it: "module:function" under `expunge.audit`."""


def check_probes(names: Sequence[str]) -> None:
    """Raise InputError for a name that is no probe."""
    for name in names:
        if name not in PROBES:
            close = get_close_matches(name, PROBES, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise InputError(f"unknown probe {name!r}.{hint}", remedy=f"Known: {', '.join(PROBES)}.")
