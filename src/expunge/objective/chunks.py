"""A term in chunks of tokens, so that logits of few tokens are held at once, and in the processor's cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from expunge.objective.said import Said
from expunge.objective.term import Kind, Option, Term

NUMBERS = 2**22
"""Logits in a chunk: 16 MiB in float32, of which a term makes a handful of copies."""

Value = Callable[[torch.Tensor, slice], torch.Tensor]
"""From the logits of a chunk and where it lies: a scalar, or float [tokens of the chunk]."""


class Layer(Protocol):
    """The output layer. trained: whether its weights are."""

    trained: bool

    def __call__(self, last: torch.Tensor) -> torch.Tensor: ...


@dataclass(frozen=True, slots=True)
class Unsaid:
    """What a model is about to say at the tokens of the rows of one kind: `said` without its logits.

    last, original: float [tokens, width], what the output layer is to read, of the model and of the original (None
    where no term asks for it).
    """

    said: Said
    last: torch.Tensor
    original: torch.Tensor | None = None

    def part(self, logits: torch.Tensor, place: slice, original: Layer) -> Said:
        """What is said at the tokens of a chunk."""
        said, reference = self.said, None
        if self.original is not None:
            with torch.no_grad():
                reference = original(self.original[place].to(logits.device)).float().log_softmax(-1)
        return replace(
            said,
            logits=logits,
            targets=said.targets[place],
            rows=said.rows[place],
            weights=said.weights[place],
            original=reference,
            top=None if said.top is None else (said.top[0][place], said.top[1][place]),
            mean=None if said.mean is None else (said.mean[0][place], said.mean[1][place]),
            levels=None if said.levels is None else said.levels[place],
        )


def value(
    term: Term,
    kinds: Mapping[Kind, Unsaid],
    options: Mapping[str, Option],
    layer: Layer,
    original: Layer,
    vocabulary: int,
) -> torch.Tensor:
    """The term's value, as of all logits at once. `original`: the original's output layer."""
    if term.hidden:
        return term.value({kind: kinds[kind].said for kind in term.reads}, options)
    if term.targets:
        said = {kind: kinds[kind].said for kind in term.reads}
        known = {kind: log_p(kinds[kind].last, s.targets, layer, vocabulary) for kind, s in said.items()}
        return term.value({kind: replace(s, log_p=known[kind]) for kind, s in said.items()}, options)
    (kind,) = term.reads
    unsaid = kinds[kind]

    def of_chunk(logits: torch.Tensor, place: slice) -> torch.Tensor:
        return term.value({kind: unsaid.part(logits, place, original)}, options)

    return in_chunks(unsaid.last, layer, of_chunk, max(1, NUMBERS // vocabulary)).sum()


def log_p(last: torch.Tensor, targets: torch.Tensor, layer: Layer, vocabulary: int) -> torch.Tensor:
    """log p(y) of each token, float32 [tokens]."""

    def of_chunk(logits: torch.Tensor, place: slice) -> torch.Tensor:
        return -F.cross_entropy(logits.float(), targets[place], reduction="none")

    return in_chunks(last, layer, of_chunk, max(1, NUMBERS // vocabulary))


def likeliest(last: torch.Tensor, k: int, layer: Layer, vocabulary: int) -> torch.Tensor:
    """The k likeliest tokens, their log-probabilities, and that of all others: float32 [tokens, 2 k + 1].

    A token's number is exact in float32 below 2²⁴.
    """
    size = max(1, NUMBERS // vocabulary)
    found = []
    for start in range(0, len(last), size):
        log_p = layer(last[start : start + size]).float().log_softmax(-1)
        known, tokens = log_p.topk(k)
        others = log_p.scatter(-1, tokens, -torch.inf).logsumexp(-1, keepdim=True)
        found.append(torch.cat([tokens.float(), known, others], -1))
    return torch.cat(found)


def in_chunks(last: torch.Tensor, layer: Layer, value: Value, size: int) -> torch.Tensor:
    """`value` of each chunk of so many tokens, joined. The gradient reaches `last`, and the layer where it is trained.

    Where it is not, a chunk's gradient is taken at once, and its logits go; where it is, they are computed again.
    """
    places = [slice(start, start + size) for start in range(0, len(last), size)]
    if not torch.is_grad_enabled():
        given = _Row(last)
        for place in places:
            given.add(value(layer(last[place]), place))
        return given.joined()
    if layer.trained:

        def again(part: torch.Tensor, place: slice) -> torch.Tensor:
            return value(layer(part), place).reshape(-1)

        return torch.cat([checkpoint(again, last[place], place, use_reentrant=False) for place in places])
    found: torch.Tensor = _AtOnce.apply(last, layer, value, places)  # type: ignore[no-untyped-call]
    return found


class _Row:
    """Values of chunks, joined as they come: a small tensor kept from each would lie where logits were, and the next
    chunk's would find no room there (a CPU's peak memory was three times as high).
    """

    def __init__(self, last: torch.Tensor) -> None:
        self._values = last.new_empty(len(last), dtype=torch.promote_types(last.dtype, torch.float32))
        self.lengths: list[int] = []

    def add(self, found: torch.Tensor) -> None:
        """A scalar, or float [tokens of the chunk]."""
        start = sum(self.lengths)
        self._values[start : start + found.numel()] = found
        self.lengths.append(found.numel())

    def joined(self) -> torch.Tensor:
        return self._values[: sum(self.lengths)]


class _AtOnce(torch.autograd.Function):
    """Keeps of each chunk its slope ∂ value / ∂ last: float [tokens, width] in all, instead of [tokens, vocabulary]."""

    @staticmethod
    def forward(ctx: Any, last: torch.Tensor, layer: Layer, value: Value, places: Sequence[slice]) -> torch.Tensor:
        values, slopes = _Row(last), torch.empty_like(last)
        for place in places:
            part = last[place].detach().requires_grad_()
            with torch.enable_grad():
                found = value(layer(part), place)
                (slopes[place],) = torch.autograd.grad(found.sum(), part)
            values.add(found.detach())
        ctx.lengths = [(given, len(last[place])) for given, place in zip(values.lengths, places, strict=True)]
        ctx.save_for_backward(slopes)
        return values.joined()

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (slopes,) = ctx.saved_tensors
        values, tokens = ([lengths[k] for lengths in ctx.lengths] for k in (0, 1))
        parts = zip(torch.split_with_sizes(grads[0], values), torch.split_with_sizes(slopes, tokens), strict=True)
        return torch.cat([grad.unsqueeze(-1) * slope for grad, slope in parts]), None, None, None
