"""How far each row would move the model if it were trained on: the norm of its own gradient."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from expunge.audit.layers import layers_of
from expunge.audit.scores import Scores
from expunge.batches import Batch
from expunge.encoding import Encoded
from expunge.model import LanguageModel


def gradient_norms(lm: LanguageModel, rows: Sequence[Encoded], known: Scores) -> list[float]:
    """‖∂L/∂θ‖₂ of each row, L its mean NLL a response token (end token too), θ all weights of the last layer.

    One backward a distinct row that is not known, which ends at that layer: its gradient alone is held. The model is
    left as it was.

    Raises:
        InputError: the model's layers are not found.
    """
    weights = [p for p in layers_of(lm.model)[-1].parameters() if p.is_floating_point()]

    def find(places: Sequence[int]) -> list[float]:
        with _only(lm.model.eval(), weights):
            return [_norm(lm, rows[i], weights) for i in places]

    return known.numbers(lm, "gradients", rows, find)


def _norm(lm: LanguageModel, row: Encoded, weights: Sequence[torch.Tensor]) -> float:
    batch = Batch.of([row], lm.device)
    loss = torch.nn.functional.cross_entropy(batch.logits(lm.model).float(), batch.targets)
    found = torch.autograd.grad(loss, list(weights), allow_unused=True)  # some experts may see no token of the row
    return float(torch.stack([g.float().norm() for g in found if g is not None]).norm())


@contextlib.contextmanager
def _only(model: Any, weights: Sequence[torch.Tensor]) -> Iterator[None]:
    """Gradients for these weights alone."""
    parameters = list(model.parameters())
    flags = [p.requires_grad for p in parameters]
    model.requires_grad_(False)
    for weight in weights:
        weight.requires_grad_(True)
    try:
        with torch.enable_grad():
            yield
    finally:
        for parameter, flag in zip(parameters, flags, strict=True):
            parameter.requires_grad_(flag)
