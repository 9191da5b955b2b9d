"""Copies of an audited model, to be changed at will: the model itself is read and nothing else."""

from __future__ import annotations

import copy
from dataclasses import replace

from expunge.model import LanguageModel


def copied(lm: LanguageModel) -> LanguageModel:
    """A deep copy, shared weights shared in it too; an adapter is merged into its weights, as an owner of them would.

    It takes as much memory as the model.
    """
    model = copy.deepcopy(lm.model)
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    return replace(lm, model=model.eval())
