"""Copies of an audited model, to be changed at will: the model itself is read and nothing else."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import torch

from expunge.adapters import merged
from expunge.errors import InputError
from expunge.model import LanguageModel
from expunge.rounding import linear_weights


def copied(lm: LanguageModel) -> LanguageModel:
    """A deep copy, shared weights shared in it too; an adapter is merged into its weights, as an owner of them would.

    It takes as much memory as the model.
    """
    model = copy.deepcopy(lm.model)
    if hasattr(model, "merge_and_unload"):
        model = merged(model)
    return replace(lm, model=model.eval())


def exact_copy(lm: LanguageModel) -> LanguageModel:
    """A copy in single precision: small steps of fine-tuning are lost in half of it."""
    changed = copied(lm)
    changed.model.float()
    return changed


def rounded_copy(lm: LanguageModel, change: Callable[[torch.Tensor], torch.Tensor]) -> LanguageModel:
    """A copy with each weight [outputs, inputs] of its linear layers changed; embeddings and the output layer stay.

    Raises:
        InputError: there is no such weight.
    """
    changed = copied(lm)
    weights = linear_weights(changed.model)
    if not weights:
        raise InputError("this model has no linear layers of floating-point weights to round")
    with torch.no_grad():
        for weight in weights:
            weight.copy_(change(weight))
    return changed
