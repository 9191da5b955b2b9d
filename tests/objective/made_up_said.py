"""Made-up rows: what a model could say at them, and a choice of them as a part of the step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from expunge.objective.said import Inner, Said
from expunge.objective.shares import row_shares
from expunge.objective.term import Kind, Original, Term

VOCABULARY, WIDTH, LAYERS = 7, 5, 2
DIRECTION = torch.tensor([0.5, 0.5, 0.5, 0.5, 0.0])


def logits_of(*tokens: tuple[float, ...]) -> torch.Tensor:
    """Logits whose softmax is exactly these probabilities."""
    return torch.tensor(tokens).log()


def said_of(logits: torch.Tensor, targets: Sequence[int], lengths: Sequence[int]) -> Said:
    """Rows of so many tokens each, which are the whole step; nothing of the original."""
    rows = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    return Said(logits, torch.tensor(targets), rows, row_shares(lengths, len(lengths)), len(lengths))


def made_up(
    lengths: Sequence[int],
    seed: int,
    *,
    scale: float = 1.0,
    original: Original | None = None,
    hidden: bool = False,
    mean: bool = False,
    levels: bool = False,
) -> Said:
    """Random rows with what is asked for, and None elsewhere. The tensors that a model would train are leaves."""
    generator, tokens = torch.Generator().manual_seed(seed), sum(lengths)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(tokens, *shape, generator=generator) * scale

    targets = torch.randint(0, VOCABULARY, (tokens,), generator=generator)
    said = said_of(draw(VOCABULARY).requires_grad_(), targets.tolist(), lengths)
    if original == "targets":
        said = replace(said, original_targets=-draw().abs())
    if original == "vocabulary":
        said = replace(said, original=draw(VOCABULARY).log_softmax(-1))
    if original == "top":
        known, tokens = (found := draw(VOCABULARY).log_softmax(-1)).topk(3)
        others = found.scatter(-1, tokens, -torch.inf).logsumexp(-1, keepdim=True)
        said = replace(said, top=(tokens, torch.cat([known, others], -1)))
    if mean:
        share = torch.rand(tokens, generator=generator)
        said = replace(said, mean=(torch.stack([targets, (targets + 1) % 7], 1), torch.stack([share, 1 - share], 1)))
    if levels:
        said = replace(said, levels=-draw().abs() - 0.01)
    if hidden:
        states = draw(LAYERS, WIDTH).requires_grad_()
        kept = draw(LAYERS, WIDTH) if original == "states" else None
        said = replace(said, inner=Inner(states, said.weights, kept))
    return said


def needed(term: Term, lengths: Sequence[int], seed: int, *, scale: float = 1.0) -> dict[Kind, Said]:
    """Of every kind that the term reads, rows with what it declares that it needs, and nothing more."""
    needs = {"original": term.original, "hidden": term.hidden, "mean": term.mean, "levels": term.levels}
    return {kind: made_up(lengths, seed + i, scale=scale, **needs) for i, kind in enumerate(term.reads)}


def part(whole: Said, chosen: Sequence[int]) -> Said:
    """Some rows of a step: their tensors are views, so that gradients reach those of the whole."""
    places = torch.cat([(whole.rows == row).nonzero()[:, 0] for row in chosen])
    lengths = [int((whole.rows == row).sum()) for row in chosen]

    def pick(values: torch.Tensor | None) -> torch.Tensor | None:
        return None if values is None else values[places]

    inner, mean, top = whole.inner, whole.mean, whole.top
    return Said(
        whole.logits[places],
        whole.targets[places],
        torch.arange(len(chosen)).repeat_interleave(torch.tensor(lengths)),
        whole.weights[places],
        whole.count,
        original=pick(whole.original),
        original_targets=pick(whole.original_targets),
        top=None if top is None else (top[0][places], top[1][places]),
        mean=None if mean is None else (mean[0][places], mean[1][places]),
        inner=None if inner is None else Inner(inner.states[places], inner.weights[places], pick(inner.original)),
        levels=pick(whole.levels),
    )


def leaves(said: Said) -> list[torch.Tensor]:
    """What a model would train."""
    return [said.logits] if said.inner is None else [said.logits, said.inner.states]
