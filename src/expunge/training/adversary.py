"""An adversary who relearns: gradients are taken where its fine-tuning leads, so that it brings back little."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from expunge.encoding import Encoded
from expunge.training.active import ActiveSet
from expunge.training.config import UnlearnConfig
from expunge.training.loss import Loss

ROWS = 8
"""Old responses that a step of the adversary's is taken on."""

STEPS = 2
"""Of the adversary's for each that is taken where they lead."""


class Adversary:
    """Fine-tunes the weights on one half of the forget set, a little further each time that it is asked.

    The forgetting gradient at the place where it arrives is that of meta-learning to first order (TAR, arXiv
    2408.00761; MUDMAN, arXiv 2506.12484). From one judging to the next it goes on; then it begins anew, on another
    half, so that a checkpoint need know nothing of it.

    rate: what a step changes each matrix by, root mean square. active: says when its turn is, and counts its tokens.
    """

    def __init__(
        self, loss: Loss, rows: Sequence[Encoded], rate: float, active: ActiveSet, config: UnlearnConfig
    ) -> None:
        self._loss, self._rows, self._rate, self._active = loss, rows, rate, active
        self._every, self._seed = config.judge_every, config.seed
        self._round = -1
        self._away: Sequence[torch.Tensor] = ()
        self._kept: list[torch.Tensor] = []  # of each weight how far it is moved; while it is, where it was
        self._taught: Sequence[int] = ()

    def turn(self, step: int) -> bool:
        """Whether it is to move the weights in a step (0-based)."""
        return self._active.attacked(step)

    def go(self, model: Any, weights: Sequence[torch.Tensor], step: int) -> None:
        """Move `weights`, in place, to where they have been fine-tuned by this step of training (0-based)."""
        if self._round != step // self._every:
            self._begin(weights, step // self._every)
        self._away = weights
        with torch.no_grad():
            for weight, kept in zip(weights, self._kept, strict=True):
                moved = weight + kept
                kept.copy_(weight)
                weight.copy_(moved)
        random = np.random.default_rng([self._seed, 7, step])
        training = model.training
        model.eval()  # it has neither noise nor dropout
        for _ in range(STEPS):
            picked = random.choice(self._taught, min(ROWS, len(self._taught)), replace=False)
            self._fine_tune(model, weights, [self._rows[i] for i in picked])
        model.train(training)

    @torch.no_grad()
    def come_back(self) -> None:
        """Put the weights back, if they are moved, and note how far they were."""
        for weight, kept in zip(self._away, self._kept if self._away else (), strict=True):
            moved = weight.clone()
            weight.copy_(kept)
            torch.sub(moved, kept, out=kept)
        self._away = ()

    def _begin(self, weights: Sequence[torch.Tensor], number: int) -> None:
        self._round = number
        self._kept = [torch.zeros_like(weight, requires_grad=False) for weight in weights]
        order = np.random.default_rng([self._seed, 6, number]).permutation(len(self._rows))
        self._taught = [int(i) for i in order[: max(1, len(order) // 2)]]

    def _fine_tune(self, model: Any, weights: Sequence[torch.Tensor], rows: Sequence[Encoded]) -> None:
        self._active.tokens += sum(map(len, rows))
        torch.autograd.backward(self._loss.likelihood(model, rows))
        for weight in weights:
            slope, weight.grad = weight.grad, None
            if slope is not None:
                weight.detach().sub_(slope * (self._rate / slope.square().mean().sqrt().clamp_min(1e-12)))
