"""Linear maps from a model's hidden states to the original's last ones, fitted on ordinary dialogues alone.

What an affine probe reads from a layer, as in the tuned lens (Belrose et al. 2023, arXiv 2303.08112): it finds what a
turn of the states has hidden from the logit lens, and knows nothing of the forgotten dialogues by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from expunge.audit.layers import layers_of, states
from expunge.batches import Batch, alike
from expunge.encoding import Encoded
from expunge.generation import batch_tokens
from expunge.model import LanguageModel

RIDGE = 1e-4
"""Of the mean square of a state's numbers, added in the least squares: few tokens do not determine a map."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """Ordinary dialogues, and the original's states after its last layer at each of their tokens: [tokens, width]."""

    batch: Batch
    wanted: torch.Tensor


def lessons(original: LanguageModel, rows: Sequence[Encoded]) -> list[Lesson]:
    """What a map is to be fitted on."""
    found, last = [], len(layers_of(original.model)) - 1
    with torch.inference_mode():
        for indices in alike([len(row) for row in rows], tokens=batch_tokens(original)):
            batch = Batch.of([rows[i] for i in indices], original.device)
            (state,) = states(original.model.eval(), batch, [last])
            found.append(Lesson(batch, _tokens(state, batch)))
    return found


def translators(lm: LanguageModel, given: Sequence[Lesson], places: Sequence[int]) -> list[torch.Tensor]:
    """For each of the layers `places` the map from `lm`'s state after it, with a 1 at its end: [width + 1, width].

    Least squares over all tokens, with a small ridge; at least float32.
    """
    width = given[0].wanted.shape[1]
    square = [torch.zeros(width + 1, width + 1, dtype=torch.float64) for _ in places]
    cross = [torch.zeros(width + 1, width, dtype=torch.float64) for _ in places]
    with torch.inference_mode():
        for lesson in given:
            for k, state in enumerate(states(lm.model.eval(), lesson.batch, places)):
                known = _ended(_tokens(state, lesson.batch))
                square[k] += (known.T @ known).double().cpu()
                cross[k] += (known.T @ lesson.wanted).double().cpu()
        ridge = [torch.eye(width + 1, dtype=torch.float64) * (RIDGE * s.diagonal().mean()) for s in square]
        solved = (torch.linalg.solve(s + r, c) for s, r, c in zip(square, ridge, cross, strict=True))
        return [w.to(given[0].wanted) for w in solved]


def translated(state: torch.Tensor, translator: torch.Tensor) -> torch.Tensor:
    """States [rows, columns, width] as the original's last layer would hand them on, were the map exact."""
    return _ended(_exact(state)) @ translator


def _tokens(state: torch.Tensor, batch: Batch) -> torch.Tensor:
    return _exact(state[batch.filled])


def _exact(state: torch.Tensor) -> torch.Tensor:
    return state.to(torch.promote_types(state.dtype, torch.float32))


def _ended(state: torch.Tensor) -> torch.Tensor:
    return torch.cat([state, torch.ones_like(state[..., :1])], -1)
