"""What holds for every term and method: splits, bounds, needs declared in full, the table."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_said import DIRECTION, leaves, needed, part
from slow_terms import ROW, TOKEN, in_float64

from expunge.objective.methods import METHODS, Method
from expunge.objective.said import Said
from expunge.objective.term import Kind, Option, Term
from expunge.objective.terms import TERMS
from expunge.training.config import UnlearnConfig

OPTIONS: dict[str, Option] = {"direction": DIRECTION, "another term's": 3.0}
LENGTHS = st.lists(st.integers(1, 5), min_size=1, max_size=8)
EACH_TERM = pytest.mark.parametrize("term", TERMS.values(), ids=list(TERMS))
EACH_METHOD = pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))


@EACH_TERM
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**16), lengths=LENGTHS, scale=st.sampled_from([0.1, 1.0, 5.0]))
def test_terms_agree_with_float64(term: Term, seed: int, lengths: list[int], scale: float) -> None:
    step = needed(term, lengths, seed, scale=scale)
    found = term.value(step, {**OPTIONS, "coefficient": 2.0}).item()
    assert found == pytest.approx(in_float64(term.name, step), rel=2e-5, abs=2e-6)


def gradients(step: dict[Kind, Said]) -> list[torch.Tensor]:
    found = [leaf.grad for said in step.values() for leaf in leaves(said)]
    return [torch.zeros(0) if grad is None else grad for grad in found]


@EACH_TERM
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**16), lengths=LENGTHS, parts=st.integers(2, 8))
def test_a_split_changes_neither_loss_nor_gradients(term: Term, seed: int, lengths: list[int], parts: int) -> None:
    """The rows of a step at once, and every n-th row as a part of its own, as in accumulation (1×8 = 8×1)."""
    whole, split = needed(term, lengths, seed), needed(term, lengths, seed)
    loss = term.value(whole, OPTIONS)
    loss.backward()
    total = 0.0
    for first in range(min(parts, len(lengths))):
        chosen = range(first, len(lengths), parts)
        piece = term.value({kind: part(said, chosen) for kind, said in split.items()}, OPTIONS)
        piece.backward()
        total += piece.item()
    assert total == pytest.approx(loss.item(), rel=1e-5, abs=1e-6)
    for a, b in zip(gradients(whole), gradients(split), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", TOKEN)
def test_padding_adds_nothing(name: str) -> None:
    """Tokens of weight 0, whatever is said there, change neither loss nor gradients."""
    term = TERMS[name]
    step = needed(term, [2, 3, 4], 7)
    bare = {kind: part(said, [0, 1]) for kind, said in step.items()}
    padded = {kind: unweighted(said, last=4) for kind, said in step.items()}
    losses = [term.value(s, OPTIONS) for s in (bare, padded)]
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-6)
    trained = [leaf for said in step.values() for leaf in leaves(said)]
    for a, b in zip(*(torch.autograd.grad(x, trained, allow_unused=True) for x in losses), strict=True):
        assert a is b is None or torch.allclose(a, b, rtol=1e-5, atol=1e-7)


def unweighted(said: Said, last: int) -> Said:
    weights = said.weights.clone()
    weights[-last:] = 0
    inner = None if said.inner is None else replace(said.inner, weights=weights)
    return replace(said, weights=weights, inner=inner)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**16), lengths=LENGTHS, scale=st.sampled_from([0.1, 1.0, 30.0]))
def test_bounds(seed: int, lengths: list[int], scale: float) -> None:
    """JensUn's two terms lie in [0, ln 2]; distance, match and all that keeps never fall below 0."""

    def value(name: str) -> float:
        return TERMS[name].value(needed(TERMS[name], lengths, seed, scale=scale), OPTIONS).item()

    for name in ("jensun", "jsd"):
        assert -1e-6 <= value(name) <= math.log(2) + 1e-6
    for name in (
        "distance",
        "match",
        "kl",
        "hidden",
        "hidden_mse",
        "rmu",
        "logit_spread",
        "normal_nll",
        "npo",
        "simnpo",
    ):
        assert value(name) >= -1e-5


@EACH_TERM
def test_half_precision_is_computed_in_float32(term: Term) -> None:
    step = needed(term, [3, 1, 2], 5)
    half = {kind: cast(said, torch.bfloat16) for kind, said in step.items()}
    full = {kind: cast(cast(said, torch.bfloat16), torch.float32) for kind, said in step.items()}
    found = term.value(half, OPTIONS)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(term.value(full, OPTIONS).item(), rel=1e-6)


def cast(said: Said, dtype: torch.dtype) -> Said:
    """What the model says, and only that, in another precision."""
    inner = None if said.inner is None else replace(said.inner, states=said.inner.states.detach().to(dtype))
    return replace(said, logits=said.logits.detach().to(dtype), inner=inner)


NEEDS = [
    (term, field)
    for term in TERMS.values()
    for field, asked in (
        ("original_targets", term.original == "targets"),
        ("original", term.original == "vocabulary"),
        ("inner", term.hidden),
        ("mean", term.mean),
        ("levels", term.levels),
    )
    if asked
]


@pytest.mark.parametrize(("term", "field"), NEEDS, ids=[f"{term.name}-{field}" for term, field in NEEDS])
def test_what_is_declared_is_needed(term: Term, field: str) -> None:
    """No forward of the original, no hidden state is asked for in vain, and its lack is one clear error."""
    step = {kind: replace(said, **{field: None}) for kind, said in needed(term, [2, 1], 0).items()}
    with pytest.raises(ValueError, match=f"needs `{field}`"):
        term.value(step, OPTIONS)


@EACH_TERM
def test_terms_train_what_they_read(term: Term) -> None:
    """A gradient reaches every row of every kind."""
    step = needed(term, [2, 1, 3], 0)
    term.value(step, OPTIONS).backward()
    for said in step.values():
        grad = (said.inner.states if said.inner is not None else said.logits).grad
        assert grad is not None and grad.isfinite().all()
        assert all(grad[said.rows == row].abs().sum() > 0 for row in range(3))


@EACH_TERM
def test_options_that_a_term_does_not_have_are_ignored(term: Term) -> None:
    step = needed(term, [2, 1], 0)
    foreign: dict[str, Option] = {name: 0.37 for t in TERMS.values() for name in t.options if name not in term.options}
    assert term.value(step, {**OPTIONS, **foreign}).item() == term.value(step, OPTIONS).item()


@EACH_METHOD
def test_methods_are_computable_from_what_their_terms_declare(method: Method) -> None:
    assert method.terms and method.meaning and "arXiv" in method.source
    weights = UnlearnConfig(**{k: v for k, v in method.settings.items() if k.endswith("_weight")}).weights
    terms = [TERMS[name] for name in method.terms]
    slots = [term.slot for term in terms]
    assert len(set(slots)) == len(slots), "one term a slot: its weight is that of the term"
    assert {slot for slot, weight in weights.items() if weight} == set(slots)
    assert set(method.options) <= {name for term in terms for name in term.options}
    for term in terms:
        assert term.value(needed(term, [2, 1], 0), {**method.options, **OPTIONS}).isfinite()


def test_the_default_is_that_of_the_configuration() -> None:
    default = UnlearnConfig()
    assert all(getattr(default, name) == value for name, value in METHODS["default"].settings.items())
    assert METHODS["default"].terms == ("distance", "cluster_mean", "rise", "hidden")


def test_the_paper_pushes_and_teaches_as_the_default_does() -> None:
    default, paper = METHODS["default"], METHODS["paper"]
    assert paper.terms == (*default.terms[:2], "kl")
    weights = {"normal_weight": 20.0, "hidden_weight": 0.0}
    assert paper.settings == {**default.settings, **weights, "noise": 0.0, "adversary": 0.0}


def test_the_table_is_complete() -> None:
    assert set(TERMS) == set(TOKEN) | set(ROW), "every term has its loop in float64"
    assert all(name == term.name for name, term in TERMS.items())
    assert all(name == method.name for name, method in METHODS.items())
    published = (
        "grad_ascent grad_diff grad_diff_kl npo simnpo idk_dpo idk_nll alt_po rmu undial ceu wga satimp pdu jensun"
    )
    assert set(METHODS) == {"default", "paper", *published.split(), "flat", "flat_tv"}
    field = {"noise": 0.0, "judged": False, "epsilon": 1e-8}
    for method in METHODS.values():
        if method.name not in ("default", "paper"):
            assert field.items() <= method.settings.items()
