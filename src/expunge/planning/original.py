"""What a training asks of the original model: rows, and bytes of what is kept of them."""

from __future__ import annotations

from collections.abc import Mapping

from expunge.planning.sizes import Sizes
from expunge.planning.workload import Workload
from expunge.training.config import UnlearnConfig, method_of

TERMS: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    "undial": ("negative", "vocabulary", ("forget",)),
    "npo": ("negative", "targets", ("forget",)),
    "dpo": ("negative", "targets", ("forget", "expected")),
    "rise": ("normal", "targets", ("normal",)),
    "kl": ("normal", "vocabulary", ("normal",)),
    "kl_top": ("normal", "top", ("normal",)),
    "jsd": ("normal", "vocabulary", ("normal",)),
    "hidden_mse": ("normal", "states", ("normal",)),
    "hidden": ("hidden", "states", ("normal",)),
}
"""Those that ask it: `slot`, `original` and `reads` of `objective.terms.TERMS`, which takes torch to import."""

TOP = 64
"""Likeliest tokens that `kl_top` asks for by default."""


def needs_of(config: UnlearnConfig) -> dict[str, set[str]]:
    """What is asked, at the rows of each kind."""
    needs: dict[str, set[str]] = {}
    for name in config.terms or method_of(config.method).terms:
        slot, original, reads = TERMS.get(name, ("", "", ()))
        for kind in reads if slot and config.weights[slot] else ():
            needs.setdefault(kind, set()).add(original)
    return needs


def rows_asked(work: Workload, config: UnlearnConfig) -> dict[str, int]:
    """Rows of each kind; one expected output is counted for each dialogue."""
    rows = {"forget": work.forget, "expected": work.forget, "normal": work.kept(config)}
    return {kind: rows[kind] for kind in needs_of(config)}


def kept_bytes(sizes: Sizes, work: Workload, config: UnlearnConfig) -> int:
    """At response tokens their log-probabilities, what the original's output layer reads, or its likeliest tokens; at
    all tokens two layers' hidden states."""
    numbers = {
        "targets": work.response,
        "vocabulary": work.response * sizes.hidden,
        "top": work.response * (2 * int(config.options.get("top", TOP)) + 1),
        "states": 2 * work.row * sizes.hidden,
    }
    needs = needs_of(config)
    return 4 * sum(rows * sum(numbers[n] for n in needs[kind]) for kind, rows in rows_asked(work, config).items())
