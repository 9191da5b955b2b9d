"""Settings that no part of a method reads: who gives one is told, and does not believe that it did something."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from expunge.errors import InputError

if TYPE_CHECKING:
    from expunge.training.config import UnlearnConfig

_LEAVE = "Leave it out"
_JUDGED = ("settle_steps", "forgotten", "normal_budget")
_SLOTS = {
    "negative_weight": "negative", "positive_weight": "positive", "normal_weight": "normal", "hidden_weight": "hidden",
    "normal_limit": "normal", "normal_budget": "normal", "forgotten": "negative", "adversary": "negative",
}  # fmt: skip
"""What is read where there is such a term alone."""


def refuse_unread(config: UnlearnConfig, given: Collection[str], *, never_seen: bool = False) -> None:
    """given: names of the settings that a user chose; what says how much, such as `normal_rows`, may go unread, so that
    methods can share it. never_seen: whether there are rows that were never seen.

    Raises:
        InputError: one of them, not 0, is read by no part of the method.
    """
    asked = [name for name in (*_SLOTS, "settle_steps", "ignorance", "surgery") if name in given]
    for name in asked:
        if getattr(config, name) and (found := _unread(config, name, never_seen)):
            raise InputError(f"{name} = {getattr(config, name)}: {found[0]}", remedy=found[1])


def _unread(config: UnlearnConfig, name: str, never_seen: bool) -> tuple[str, str] | None:
    """Why nothing reads it, and what to do."""
    from expunge.objective.terms import TERMS  # takes torch to import

    terms = [term for n in config.named_terms(never_seen=never_seen) if config.weights[(term := TERMS[n]).slot]]
    slots, slot, who = {term.slot for term in terms}, _SLOTS.get(name), f"the method {config.method!r}"
    if name in _JUDGED and not config.judged:
        return f"{who} trains without a judge", f"{_LEAVE}, or set judged = true."
    if slot and slot not in slots:
        return f"{who} has no {slot} term", f"{_LEAVE}, or name one in `terms` (and give it a weight)."
    if name in ("ignorance", "forgotten") and any(term.levels for term in terms):
        return "the level of `never_seen` rows takes its place", f"{_LEAVE}, or leave those rows out."
    if name == "ignorance" and not any("ignorance" in term.options for term in terms):
        return f"{who} reads none", f"{_LEAVE}, or give terms of which `distance` is one."
    if name == "surgery" and not slots & {"normal", "hidden"}:
        return f"{who} has neither a normal term nor a hidden one", f"{_LEAVE}, or name one in `terms`."
    return None
