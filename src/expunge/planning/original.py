"""What a training asks of the original model: rows, and bytes of what is kept of them."""

from __future__ import annotations

from expunge.planning.mirror import KEPT_BYTES, TERMS, TOP
from expunge.planning.sizes import Sizes
from expunge.planning.workload import Workload
from expunge.training.config import UnlearnConfig


def needs_of(config: UnlearnConfig) -> dict[str, set[str]]:
    """What is asked, at the rows of each kind."""
    needs: dict[str, set[str]] = {}
    for term in (TERMS[name] for name in config.named_terms(never_seen=False)):
        if term.original and config.weights[term.slot]:
            for kind in term.reads:
                needs.setdefault(kind, set()).add(term.original)
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


def is_kept(sizes: Sizes, work: Workload, config: UnlearnConfig, processes: int) -> bool:
    """Whether what the original makes of the rows is kept in a file, and not asked for at each step; several processes
    always keep it."""
    return processes > 1 or kept_bytes(sizes, work, config) <= KEPT_BYTES
