"""Probes by name, without importing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from expunge.errors import InputError, did_you_mean

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
            fault = f"unknown probe {name!r}.{did_you_mean(name, PROBES)}"
            raise InputError(fault, remedy=f"Known: {', '.join(PROBES)}.")
