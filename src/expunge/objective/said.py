"""What a term of the loss is computed from: what the model, and the original, make of rows of one kind."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Inner:
    """Hidden states at some tokens of the rows of one kind in one part of a step.

    states, original: float [tokens, layers, width] of the model and of the original (None where no term asks for it).
    weights: float [tokens], each token's share of the mean over the rows of the whole step.
    """

    states: torch.Tensor
    weights: torch.Tensor
    original: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """What the model says at the response tokens of the rows of one kind in one part of a step, row after row.

    Of forget rows only the tokens at fault are here, so that every term falls on the flagged spans.

    logits: float [tokens, vocabulary]. targets: int64 [tokens], what stands there in the data.
    rows: int64 [tokens], ascending: which row of this part each token belongs to, from 0.
    weights: float [tokens]: 1 / (tokens of its row · `count`), so that every row counts the same, however long.
    count: rows of this kind in the whole step, however it is split.
    original: float32 [tokens, vocabulary], log-probabilities of the original model; original_targets: float32
        [tokens], those of the targets alone. None where no term asks for it.
    top: the original's k likeliest tokens, int64 [tokens, k], and float32 [tokens, k + 1], their log-probabilities and
        that of all others together; where a term asks for it.
    mean: the cluster mean of expected rows (see `positive.cluster_mean`): int64 [tokens, k] and float [tokens, k].
    inner: hidden states, where a term asks for them.
    log_p: float32 [tokens], log-probabilities of the targets, where a term needs nothing else of the logits: these are
        then left out.
    levels: float [tokens], the log-probability that each target should end at; where a term asks for it.
    """

    logits: torch.Tensor
    targets: torch.Tensor
    rows: torch.Tensor
    weights: torch.Tensor
    count: int
    original: torch.Tensor | None = None
    original_targets: torch.Tensor | None = None
    top: tuple[torch.Tensor, torch.Tensor] | None = None
    mean: tuple[torch.Tensor, torch.Tensor] | None = None
    inner: Inner | None = None
    log_p: torch.Tensor | None = None
    levels: torch.Tensor | None = None
