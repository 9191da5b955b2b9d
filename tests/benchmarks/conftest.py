"""Two small models in float64, so that all that differs from a slow reference is the arithmetic."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from expunge.benchmarks.result import Models
from expunge.model import LanguageModel, load_model


@pytest.fixture(scope="module")
def both(tiny: Path) -> Models:
    """The tiny model, and it with noise on its weights as the oracle."""
    lm = load_model(tiny)
    model, generator = copy.deepcopy(lm.model.double()), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator).double(), alpha=0.05)
    return Models(lm, replace(lm, name="oracle", model=model))


@pytest.fixture(scope="module")
def lms(both: Models) -> list[LanguageModel]:
    return list(both.named.values())
