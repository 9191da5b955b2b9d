"""Noise on the embeddings while training, so that what is learnt on one phrasing holds on another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import torch

from expunge.encoding import Encoded


def add_noise(model: Any, alpha: float, rows: Sequence[Encoded]) -> Any:
    """Uniform noise in ± α / √(L · width) on every embedding of the training forwards (NEFTune, arXiv 2310.05914).

    L is the mean length of `rows`, in tokens: many rows lie in one sequence, whose length says nothing of theirs.
    Returns a handle; its `remove` ends it.
    """
    length = fmean(map(len, rows))

    def hook(module: torch.nn.Module, _: Any, output: torch.Tensor) -> torch.Tensor:
        if not module.training:
            return output
        most = alpha / math.sqrt(length * output.shape[-1])
        return output + torch.empty_like(output).uniform_(-most, most)

    return model.get_input_embeddings().register_forward_hook(hook)
