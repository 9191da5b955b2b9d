"""How far each row would move the model if it were trained on: the norm of its own gradient."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from expunge.audit.layers import finish, layers_of, states
from expunge.audit.scores import Scores
from expunge.batches import Batch, alike
from expunge.encoding import Encoded
from expunge.generation import batch_tokens
from expunge.model import LanguageModel


def gradient_norms(lm: LanguageModel, rows: Sequence[Encoded], known: Scores) -> list[float]:
    """‖∂L/∂θ‖₂ of each row, L its mean NLL a response token (end token too), θ all weights of the last layer.

    Distinct rows that are not known go through the layers below in batches, and through the last, forth and back, one
    by one: its gradient alone is held. The model is left as it was.

    Raises:
        InputError: the model's layers are not found.
    """
    model, last = lm.model.eval(), len(layers_of(lm.model)) - 1
    weights = [p for p in layers_of(model)[last].parameters() if p.is_floating_point()]

    def find(places: Sequence[int]) -> list[float]:
        found: dict[int, float] = {}
        with _only(model, weights):
            for indices in alike([len(rows[i]) for i in places], tokens=batch_tokens(lm)):
                part = [rows[places[i]] for i in indices]
                for i, row, state in zip(indices, part, _below(lm, part, last), strict=True):
                    batch = Batch.of([row], lm.device)
                    logits = batch.logits(model) if state is None else finish(model, batch, last - 1, state)
                    found[i] = _norm(logits, batch.targets, weights)
        return [found[i] for i in range(len(places))]

    return known.numbers(lm, "gradients", rows, find)


def _below(lm: LanguageModel, rows: Sequence[Encoded], last: int) -> Sequence[torch.Tensor | None]:
    """What each row hands to the layer `last`, float [1, tokens, width]; None where there is no layer below."""
    if not last:
        return [None] * len(rows)
    with torch.no_grad():
        (state,) = states(lm.model, Batch.of(rows, lm.device), [last - 1])
    return [state[i : i + 1, : len(row)] for i, row in enumerate(rows)]


def _norm(logits: torch.Tensor, targets: torch.Tensor, weights: Sequence[torch.Tensor]) -> float:
    loss = torch.nn.functional.cross_entropy(logits.float(), targets)
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
