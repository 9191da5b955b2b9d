"""What a plan must know of the trainer, written down once more: its own modules take torch to import, which a plan does
without. A test holds each figure to the one that it repeats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Term:
    """As `objective.term.Term`: the slot, the kinds of rows that it reads, and what it asks of the original there."""

    slot: str
    reads: tuple[str, ...]
    original: str | None = None


_FORGET, _BOTH, _NORMAL = ("forget",), ("forget", "expected"), ("normal",)
TERMS: Mapping[str, Term] = {
    **dict.fromkeys(
        ("distance", "match", "ascent", "wga", "satimp", "ceu", "logit_spread", "rmu", "simnpo"),
        Term("negative", _FORGET),
    ),
    "undial": Term("negative", _FORGET, "vocabulary"),
    "npo": Term("negative", _FORGET, "targets"),
    "dpo": Term("negative", _BOTH, "targets"),
    **dict.fromkeys(("flat", "flat_tv"), Term("negative", _BOTH)),
    "jensun": Term("negative", ("expected",)),
    **dict.fromkeys(("cluster_mean", "expected_nll"), Term("positive", ("expected",))),
    "normal_nll": Term("normal", _NORMAL),
    "rise": Term("normal", _NORMAL, "targets"),
    **dict.fromkeys(("kl", "jsd"), Term("normal", _NORMAL, "vocabulary")),
    "kl_top": Term("normal", _NORMAL, "top"),
    "hidden_mse": Term("normal", _NORMAL, "states"),
    "hidden": Term("hidden", _NORMAL, "states"),
}
"""`objective.terms.TERMS`."""

TOP = 64
"""Likeliest tokens that `kl_top` asks for by default."""
CHUNK = 2**22
"""Logits that a term holds at once: `objective.chunks.NUMBERS`."""
KEPT_BYTES = 64 * 2**30
"""Up to which the original's outputs are kept: `training.reference.KEPT_BYTES`."""
BATCH_TOKENS, BATCH_LOGITS = 16_384, 2**26
"""In one batch that is read or asked: `generation.TOKENS` and `generation.LOGITS`."""
CPU_TOKENS = 4096
"""Tokens that a CPU reads at a time: `host.CPU_TOKENS`."""
ADVERSARY_ROWS, ADVERSARY_STEPS = 8, 2
"""`training.adversary.ROWS` and `STEPS`."""
