"""A term of the loss, and what it must be given: the trainer computes that and nothing more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch

from expunge.objective.said import Said

Slot = Literal["negative", "positive", "normal", "hidden"]
Kind = Literal["forget", "expected", "normal"]
Original = Literal["targets", "vocabulary", "top", "states"]
Option = float | torch.Tensor


@dataclass(frozen=True, slots=True)
class Term:
    """One summand of the loss.

    slot: which weight it is multiplied by.
    loss: the function; it takes the Saids of the kinds in `reads`, in that order, and options by name.
    reads: the kinds of rows it is computed from. With two, the n-th row of the one goes with the n-th of the other.
    original: what it needs of the original model at those rows: of the targets (`Said.original_targets`), of the whole
        vocabulary (`Said.original`), of its likeliest tokens (`Said.top`; option `top`: how many) or the hidden states
        (`Inner.original`).
    hidden, mean, levels: whether it needs `Said.inner`, `Said.mean`, `Said.levels`. One that needs hidden states
        reads no logits; any other is a sum over tokens of one kind, unless it is one with `targets`.
    targets: whether it reads of the logits the targets' log-probabilities alone.
    options: its options that have a default, with it.
    given: names of its options that have none (tensors).
    """

    name: str
    slot: Slot
    loss: Callable[..., torch.Tensor]
    reads: tuple[Kind, ...]
    original: Original | None = None
    hidden: bool = False
    targets: bool = False
    mean: bool = False
    levels: bool = False
    options: Mapping[str, float] = field(default_factory=dict)
    given: tuple[str, ...] = ()

    def value(self, said: Mapping[Kind, Said], options: Mapping[str, Option] | None = None) -> torch.Tensor:
        """The loss, a scalar. Of `said` and `options` it takes what it reads; the rest may belong to other terms."""
        own = {name: value for name, value in (options or {}).items() if name in self.options or name in self.given}
        read = {
            name: value for name, value in {**self.options, **own}.items() if name != "top"
        }  # asked of the original
        return self.loss(*(said[kind] for kind in self.reads), **read)
