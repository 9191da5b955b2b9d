"""From what a model makes of rows to what the terms of the loss are computed from."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from expunge.batches import Output
from expunge.encoding import Encoded
from expunge.objective.chunks import Unsaid
from expunge.objective.said import Inner, Said
from expunge.objective.shares import row_shares
from expunge.training.material import Mean
from expunge.training.reference import Recalled


def gather(
    rows: Sequence[Encoded],
    found: Sequence[Output],
    recalled: Sequence[Recalled],
    count: int,
    *,
    at_fault: bool = False,
    means: Sequence[Mean] = (),
    levels: Sequence[torch.Tensor] = (),
) -> Unsaid:
    """The rows of one kind in one part of a step, of which the whole step has `count`.

    at_fault: take the tokens at fault alone; otherwise all response tokens, and the hidden states of the prompt too.
    means: of expected rows, their clusters' means. levels: float [response] of each row, see `Said.levels`.
    """
    device = found[0].last.device
    masks = [torch.tensor(row.fault) if at_fault else None for row in rows]

    def joined(parts: Sequence[torch.Tensor]) -> torch.Tensor:
        """Of parts [response, …], the tokens that count, on the model's device."""
        return torch.cat([_chosen(part, mask) for part, mask in zip(parts, masks, strict=True)]).to(device)

    def asked(parts: Sequence[torch.Tensor | None]) -> torch.Tensor | None:
        there = [part for part in parts if part is not None]
        return joined(there) if there else None

    counts = [len(row.response) if mask is None else int(mask.sum()) for row, mask in zip(rows, masks, strict=True)]
    shares = row_shares(counts, count).to(device)
    last = joined([output.last for output in found])
    top = asked([item.top for item in recalled])
    said = Said(
        logits=last[:, :0],
        targets=joined([torch.tensor(row.response) for row in rows]),
        rows=torch.arange(len(rows)).repeat_interleave(torch.tensor(counts)).to(device),
        weights=shares,
        count=count,
        original_targets=asked([item.targets for item in recalled]),
        top=None if top is None else (top[:, : top.shape[1] // 2].long(), top[:, top.shape[1] // 2 :]),
        mean=_padded(means, device) if means else None,
        inner=_inner(rows, found, recalled, masks, shares, count),
        levels=joined(levels) if levels else None,
    )
    return Unsaid(said, last, asked([item.last for item in recalled]))


def _inner(
    rows: Sequence[Encoded],
    found: Sequence[Output],
    recalled: Sequence[Recalled],
    masks: Sequence[torch.Tensor | None],
    shares: torch.Tensor,
    count: int,
) -> Inner | None:
    states = [output.hidden for output in found if output.hidden is not None]
    if not states:
        return None
    original = [item.states for item in recalled if item.states is not None]

    def join(parts: Sequence[torch.Tensor]) -> torch.Tensor:
        """Of parts [prompt and response, …]."""
        cut = [
            part if mask is None else part[len(row.prompt) :][mask]
            for row, part, mask in zip(rows, parts, masks, strict=True)
        ]
        return torch.cat(cut).to(shares.device)

    weights = row_shares([len(row) for row in rows], count).to(shares.device) if masks[0] is None else shares
    return Inner(join(states), weights, join(original) if original else None)


def _chosen(part: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    return part if mask is None else part[mask]


def _padded(means: Sequence[Mean], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and shares, [tokens, k]: shorter lists are filled with a share of 0."""
    choices = [choice for mean in means for choice in mean]
    most = max(map(len, choices))
    padded = [(*choice, *[(0, 0.0)] * (most - len(choice))) for choice in choices]
    tokens = torch.tensor([[token for token, _ in choice] for choice in padded], device=device)
    return tokens, torch.tensor([[share for _, share in choice] for choice in padded], device=device)
