"""Each term against arithmetic worked by hand, against float64, and under every way to split a step."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from on_tensors import cluster_mean_loss, distance_loss, hidden_loss, kl_loss

from expunge.objective.shares import row_shares

LN = math.log


def logits_of(*rows: tuple[float, ...]) -> torch.Tensor:
    """Logits whose softmax is exactly these probabilities."""
    return torch.tensor(rows).log()


def even(count: int) -> torch.Tensor:
    return torch.full((count,), 1 / count)


def test_distance_loss_by_hand() -> None:
    """Two tokens with p(y) = 3/4 and 1/2: d = 1/4 and 1/2, so L = (ln 4 + ln 2) / 2 = 1.5 ln 2."""
    logits = logits_of((0.75, 0.125, 0.125), (0.25, 0.5, 0.25))
    loss = distance_loss(logits, torch.tensor([0, 1]), even(2))
    assert loss.item() == pytest.approx(1.5 * LN(2), abs=1e-6)


def test_distance_loss_stops_at_ignorance() -> None:
    """With q = 1/2: the first token (p = 3/4) gives ln(1/2) − ln(1/4) = ln 2, the second (p = 1/2) is there: 0."""
    logits = logits_of((0.75, 0.125, 0.125), (0.25, 0.5, 0.25), (0.1, 0.1, 0.8)).requires_grad_()
    loss = distance_loss(logits, torch.tensor([0, 1, 0]), even(3), ignorance=0.5)
    assert loss.item() == pytest.approx(LN(2) / 3, abs=1e-6)
    loss.backward()
    assert logits.grad is not None
    assert logits.grad[2].abs().max() == 0, "a token below ignorance (p = 0.1 < 0.5) is left alone"


def test_distance_loss_never_falls_below_zero_and_fades() -> None:
    """p(y) → 0 means d → 1: loss and gradient go to 0, where gradient ascent's loss has no floor."""
    logits = torch.tensor([[-40.0, 0.0, 0.0]], requires_grad=True)
    loss = distance_loss(logits, torch.tensor([0]), even(1))
    assert 0 <= loss.item() < 1e-6
    loss.backward()
    assert logits.grad is not None and logits.grad.abs().max() < 1e-6


def test_distance_loss_keeps_its_gradient_where_the_answer_is_known_by_heart() -> None:
    """∂L/∂z_y = p(y): 1 at p → 1, where float32 `1 − p` is 0 and a naive log would be infinite."""
    logits = torch.tensor([[40.0, 0.0, 0.0]], requires_grad=True)
    loss = distance_loss(logits, torch.tensor([0]), even(1))
    assert loss.item() == pytest.approx(40 - LN(2), abs=1e-4)
    loss.backward()
    assert logits.grad is not None
    assert logits.grad[0].tolist() == pytest.approx([1.0, -0.5, -0.5], abs=1e-6)


def one(*tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A cluster of one member: all of the mean on its tokens."""
    return torch.tensor(tokens).unsqueeze(1), torch.ones(len(tokens), 1)


def test_cluster_mean_loss_of_one_member_is_cross_entropy() -> None:
    """Tokens with p = 1/4 and 1/2: (ln 4 + ln 2) / 2 = 1.5 ln 2."""
    logits = logits_of((0.25, 0.75), (0.5, 0.5))
    assert cluster_mean_loss(logits, *one(0, 0), even(2)).item() == pytest.approx(1.5 * LN(2), abs=1e-6)


def test_cluster_mean_loss_by_hand() -> None:
    """p̄ = (1/2, 1/2), p = (1/4, 1/2): ½ ln(½ / ¼) + ½ ln(½ / ½) = ½ ln 2; a place with share 0 adds nothing."""
    logits = logits_of((0.25, 0.5, 0.25))
    tokens, mean = torch.tensor([[0, 1, 0]]), torch.tensor([[0.5, 0.5, 0.0]])
    assert cluster_mean_loss(logits, tokens, mean, even(1)).item() == pytest.approx(0.5 * LN(2), abs=1e-6)


def test_cluster_mean_loss_is_least_at_the_cluster_mean() -> None:
    """Two one-token members: the loss is least, 0, where each has probability 1/2, and its gradient is 0 there."""
    logits = torch.zeros(1, 3, requires_grad=True)
    optimizer = torch.optim.SGD([logits], lr=1.0)
    for _ in range(600):
        optimizer.zero_grad()
        loss = cluster_mean_loss(logits, torch.tensor([[0, 1]]), torch.tensor([[0.5, 0.5]]), even(1))
        loss.backward()
        optimizer.step()
    assert logits.softmax(-1)[0].tolist() == pytest.approx([0.5, 0.5, 0.0], abs=5e-3)
    assert loss.item() == pytest.approx(0.0, abs=5e-3)


def test_hidden_loss_by_hand() -> None:
    """Two layers: (3, 4) moved by (0, 5): 25 / 25 = 1; (0, 2) moved by (1, 0): 1 / 4. Mean 5/8."""
    reference = torch.tensor([[[3.0, 4.0], [0.0, 2.0]]])
    hidden = reference + torch.tensor([[[0.0, 5.0], [1.0, 0.0]]])
    assert hidden_loss(hidden, reference, even(1)).item() == pytest.approx(5 / 8, abs=1e-6)
    assert hidden_loss(reference, reference, even(1)).item() == 0.0


def test_kl_loss_by_hand() -> None:
    """KL((1/2, 1/2) ‖ (1/4, 3/4)) = ½ ln 2 + ½ ln(2/3) = ½ ln(4/3)."""
    reference, logits = logits_of((0.5, 0.5)), logits_of((0.25, 0.75))
    assert kl_loss(logits, reference, even(1)).item() == pytest.approx(0.5 * LN(4 / 3), abs=1e-6)
    assert kl_loss(reference, reference, even(1)).item() == pytest.approx(0.0, abs=1e-7)


def test_shares_give_every_row_the_same_say() -> None:
    """Rows of 1 and 3 tokens in a step of 4 rows: 1/4 for the one, 1/12 for each of the three."""
    assert row_shares([1, 3], 4).tolist() == pytest.approx([1 / 4, 1 / 12, 1 / 12, 1 / 12])


SHARES = torch.tensor([[0.75, 0.25], [1.0, 0.0], [0.5, 0.5]]).repeat(3, 1)
TERMS = {
    "distance": lambda z, y, w: distance_loss(z, y, w, ignorance=0.01),
    "cluster_mean": lambda z, y, w: cluster_mean_loss(z, torch.stack([y, (y + 1) % 7], 1), SHARES[: len(y)], w),
    "hidden": lambda z, y, w: hidden_loss(
        z.unsqueeze(1), torch.cos(torch.arange(z.numel()).view_as(z)).unsqueeze(1), w
    ),
    "kl": lambda z, y, w: kl_loss(z, torch.sin(torch.arange(z.numel()).view_as(z).float()).log_softmax(-1), w),
}


def in_float64(name: str, logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> float:
    """The same terms as slow loops over float64 probabilities."""
    total = 0.0
    reference = torch.sin(torch.arange(logits.numel()).view_as(logits).float()).double().softmax(-1)
    for i, (z, y, w, r) in enumerate(zip(logits.double(), targets, weights.double(), reference, strict=True)):
        p = z.softmax(-1)
        if name == "distance":
            value = max(0.0, LN(1 - 0.01) - LN(sum(float(p[k]) for k in range(len(p)) if k != y)))
        elif name == "kl":
            value = sum(float(a) * (LN(float(a)) - LN(float(b))) for a, b in zip(r, p, strict=True))
        elif name == "hidden":
            kept = [math.cos(i * len(z) + k) for k in range(len(z))]
            value = sum((float(a) - b) ** 2 for a, b in zip(z, kept, strict=True)) / sum(b * b for b in kept)
        else:
            pairs = zip((int(y), (int(y) + 1) % 7), SHARES[i].tolist(), strict=True)
            value = sum(q * (LN(q) - LN(float(p[v]))) for v, q in pairs if q > 0)
        total += float(w) * value
    return total


@pytest.mark.parametrize("name", TERMS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), tokens=st.integers(1, 9), scale=st.sampled_from([0.1, 1.0, 5.0]))
def test_terms_agree_with_float64(name: str, seed: int, tokens: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(tokens, 7, generator=generator) * scale
    targets = torch.randint(0, 7, (tokens,), generator=generator)
    weights = torch.rand(tokens, generator=generator)
    found = TERMS[name](logits, targets, weights).item()
    assert found == pytest.approx(in_float64(name, logits, targets, weights), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", TERMS)
def test_half_precision_logits_are_computed_in_float32(name: str) -> None:
    logits = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    targets, weights = torch.tensor([0, 1, 2, 3, 4]), even(5)
    rounded = logits.bfloat16()
    assert TERMS[name](rounded, targets, weights).item() == pytest.approx(
        TERMS[name](rounded.float(), targets, weights).item(), abs=1e-6
    )


def test_a_weight_of_zero_removes_even_an_infinite_token() -> None:
    logits = torch.tensor([[0.0, -math.inf], [0.0, 0.0]])
    loss = cluster_mean_loss(logits, *one(1, 0), torch.tensor([0.0, 1.0]))
    assert loss.item() == pytest.approx(LN(2))
