"""Each term against arithmetic worked by hand, and what sets it apart from its neighbours."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_said import DIRECTION, logits_of, made_up, said_of

from expunge.objective.chunks import likeliest
from expunge.objective.negative import distance, jensun, match, rmu, satimp, unit_direction, wga
from expunge.objective.said import Inner, Said
from expunge.objective.term import Kind, Option, Term
from expunge.objective.terms import TERMS

LN = math.log


def value(name: str, *said: Said, **options: Option) -> float:
    term: Term = TERMS[name]
    step: dict[Kind, Said] = dict(zip(term.reads, said, strict=True))
    return term.value(step, options).item()


def one(p: float) -> Said:
    """One row of one token with probability p; the rest is shared by two others."""
    return said_of(logits_of((p, (1 - p) / 2, (1 - p) / 2)), [0], [1])


def rows() -> Said:
    """Two rows: one token with p = 1/2; two tokens with p = 1/4 and 1/8. Σ log p = −ln 2 and −5 ln 2."""
    return said_of(logits_of((0.5, 0.5), (0.25, 0.75), (0.125, 0.875)), [0, 0, 0], [1, 2])


def with_original(said: Said, *values: float) -> Said:
    return replace(said, original_targets=torch.tensor(values))


def test_rows_count_the_same_however_long() -> None:
    """Row means of −log p: ln 2 and 2.5 ln 2. Mean 1.75 ln 2; gradient ascent is its negative."""
    assert value("normal_nll", rows()) == pytest.approx(1.75 * LN(2), abs=1e-6)
    assert value("expected_nll", rows()) == pytest.approx(1.75 * LN(2), abs=1e-6)
    assert value("ascent", rows()) == pytest.approx(-1.75 * LN(2), abs=1e-6)


def test_rise_by_hand() -> None:
    """log p_ref − log p: 0 in the first row; ln 2 and 2 ln 2 in the second, whose mean is 1.5 ln 2."""
    normal = with_original(rows(), LN(1 / 2), LN(1 / 2), LN(1 / 2))
    assert value("rise", normal) == pytest.approx(0.75 * LN(2), abs=1e-6)


def test_rise_takes_no_notice_of_what_a_token_gains_beyond_a_nat() -> None:
    """Gains in the first row 10; in the second 0.5 and a loss of 2 ln 2: (−1 + (−0.5 + 2 ln 2) / 2) / 2."""
    normal = with_original(rows(), LN(1 / 2) - 10, LN(1 / 4) - 0.5, LN(1 / 2))
    assert value("rise", normal) == pytest.approx((-1 + (-0.5 + 2 * LN(2)) / 2) / 2, abs=1e-6)
    logits = normal.logits.requires_grad_()
    (slope,) = torch.autograd.grad(TERMS["rise"].value({"normal": normal}), logits)
    assert not slope[0].any() and slope[1].any() and slope[2].any()


def test_rise_of_the_untouched_model_is_nothing_and_its_slope_that_of_cross_entropy() -> None:
    normal = with_original(rows(), LN(1 / 2), LN(1 / 4), LN(1 / 8))
    assert value("rise", normal) == pytest.approx(0.0, abs=1e-6)
    logits = normal.logits.requires_grad_()
    slopes = [torch.autograd.grad(TERMS[name].value({"normal": normal}), logits)[0] for name in ("rise", "normal_nll")]
    torch.testing.assert_close(*slopes)


def test_npo_by_hand() -> None:
    """β = 1: r = −ln 2 − (−ln 2) = 0 and −5 ln 2 − (−3 ln 2) = −2 ln 2. −2 log σ(−r): 2 ln 2 and 2 ln(1 + ¼); mean."""
    forget = with_original(rows(), LN(1 / 2), LN(1 / 4), LN(1 / 2))
    assert value("npo", forget, beta=1.0) == pytest.approx(LN(2) + LN(5 / 4), abs=1e-6)


def test_npo_of_the_untouched_model() -> None:
    """r = 0 in each row: −(2/β) ln ½ = 20 ln 2 with β = 0.1."""
    forget = with_original(rows(), LN(1 / 2), LN(1 / 4), LN(1 / 8))
    assert value("npo", forget) == pytest.approx(20 * LN(2), rel=1e-6)


def test_simnpo_by_hand() -> None:
    """β = 2, δ = ln 2: means − δ are 0 and 1.5 ln 2; −log σ: ln 2 and ln(1 + 2^−3) = ln(9/8). 2/β = 1; mean."""
    assert value("simnpo", rows(), beta=2.0, delta=LN(2)) == pytest.approx((LN(2) + LN(9 / 8)) / 2, abs=1e-6)


def test_dpo_by_hand() -> None:
    """β = 1: r(expected) = ln ½ − ln ⅛ = 2 ln 2, r(forget) = ln ½ − ln ¼ = ln 2. −2 log σ(ln 2) = 2 ln(3/2)."""
    expected, forget = with_original(one(0.5), LN(1 / 8)), with_original(one(0.5), LN(1 / 4))
    assert value("dpo", forget, expected, beta=1.0) == pytest.approx(2 * LN(3 / 2), abs=1e-6)


def test_flat_by_hand() -> None:
    """P(forget) = 1/2 and (1/4 + 1/8) / 2 = 3/16; P(expected) = 1/4 and 3/4."""
    expected = said_of(logits_of((0.25, 0.75), (0.75, 0.25)), [0, 0], [1, 1])
    kl = (math.exp(1 / 2 - 1) - 1 / 4 + math.exp(3 / 16 - 1) - 3 / 4) / 2
    assert value("flat", rows(), expected) == pytest.approx(kl, abs=1e-6)
    tv = (math.tanh(1 / 2) - math.tanh(1 / 4) + math.tanh(3 / 16) - math.tanh(3 / 4)) / 4
    assert value("flat_tv", rows(), expected) == pytest.approx(tv, abs=1e-6)


@pytest.mark.parametrize("name", ["dpo", "flat", "flat_tv"])
def test_pairs_must_be_complete(name: str) -> None:
    """Two forget rows, one expected row: broadcasting would compare both with the one."""
    forget, expected = made_up([1, 2], 0, original="targets"), made_up([3], 1, original="targets")
    with pytest.raises(ValueError, match="2 forget and 1 expected"):
        TERMS[name].value({"forget": forget, "expected": expected})


def test_wga_by_hand() -> None:
    """p = 1/4: ¼ ln ¼ with β = 1; (¼)² ln ¼ with β = 2; ln ¼ with β = 0, as gradient ascent."""
    assert value("wga", one(0.25)) == pytest.approx(LN(1 / 4) / 4, abs=1e-6)
    assert value("wga", one(0.25), beta=2.0) == pytest.approx(LN(1 / 4) / 16, abs=1e-6)
    assert value("wga", one(0.25), beta=0.0) == pytest.approx(value("ascent", one(0.25)), abs=1e-6)


def test_satimp_by_hand() -> None:
    """p = 1/2, β1 = 5, β2 = 1: (1/2)^5 · 1/2 · ln ½. With β2 = 0 it is wga."""
    assert value("satimp", one(0.5)) == pytest.approx(-LN(2) / 64, abs=1e-6)
    assert value("satimp", one(0.3), beta2=0.0) == pytest.approx(value("wga", one(0.3), beta=5.0), abs=1e-7)


def test_weights_are_held_constant() -> None:
    """∂(c log p)/∂z_y = c (1 − p). p = 1/4: wga c = 1/4 gives 3/16; satimp c = 4^−5 · 3/4. Without holding, wga's would
    have (1 + ln p) in it."""
    for loss, factor in ((wga, 1 / 4), (satimp, 4**-5 * 3 / 4)):
        said = one(0.25)
        said.logits.requires_grad_()
        loss(said).backward()
        assert said.logits.grad is not None
        assert said.logits.grad[0, 0].item() == pytest.approx(factor * 3 / 4, rel=1e-5)


def test_satimp_is_exact_where_the_answer_is_known_by_heart() -> None:
    """z = (20, 0, 0): the weight is d = 2 e^−20, and ∂(d log p)/∂z_v = −d e^−20 for v ≠ y; a float32 1 − p is 0."""
    said = said_of(torch.tensor([[20.0, 0.0, 0.0]], requires_grad=True), [0], [1])
    satimp(said).backward()
    assert said.logits.grad is not None
    assert said.logits.grad[0, 1].item() == pytest.approx(-2 * math.exp(-40), rel=1e-4, abs=0)


def test_undial_by_hand() -> None:
    """p_ref = (1/2, 1/4, 1/4), β = ln 2, y = 0: q ∝ (1/4, 1/4, 1/4), a third each. p = (1/2, 1/4, 1/4):
    CE = (ln 2 + ln 4 + ln 4) / 3 = 5/3 ln 2."""
    said = replace(one(0.5), original=logits_of((0.5, 0.25, 0.25)))
    assert value("undial", said, beta=LN(2)) == pytest.approx(5 / 3 * LN(2), abs=1e-6)


def test_ceu_by_hand() -> None:
    """p = (1/2, 1/4, 1/4), y = 0: q = (0, 1/2, 1/2), CE = ln 4. As −log d + H(q) = ln 2 + ln 2."""
    assert value("ceu", one(0.5)) == pytest.approx(2 * LN(2), abs=1e-6)


def test_ceu_has_the_gradient_of_the_distance() -> None:
    said = made_up([2, 4, 1], 3, scale=3.0)
    found = torch.autograd.grad(TERMS["ceu"].value({"forget": said}), said.logits)[0]
    wanted = torch.autograd.grad(distance(said), said.logits)[0]
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-7)


def test_logit_spread_by_hand() -> None:
    """z = (3, 0, 0): max 3, mean 1, squared 4."""
    assert value("logit_spread", said_of(torch.tensor([[3.0, 0.0, 0.0]]), [1], [1])) == pytest.approx(4.0)


def test_jensun_by_hand() -> None:
    """p = 1/2: ½ [ln 2 / 2 + ½ ln ½ − (3/2) ln(3/4)] = −¾ ln ¾. At p → 0 it is ln 2, its bound."""
    assert value("jensun", one(0.5)) == pytest.approx(-0.75 * LN(0.75), abs=1e-6)
    assert value("jensun", one(1e-30)) == pytest.approx(LN(2), abs=1e-6)


def test_jensun_is_exact_where_the_refusal_is_known_by_heart() -> None:
    """To first order in d it is (d ln 2) / 2: z = (20, 0, 0) has d = 2 e^−20 = 4.1e-9, beyond a float32 1 − p."""
    loss = jensun(said_of(torch.tensor([[20.0, 0.0, 0.0]]), [0], [1]))
    assert loss.item() == pytest.approx(math.exp(-20) * LN(2), rel=1e-4, abs=0)


def test_rmu_by_hand() -> None:
    """c = 4, u = (½, ½, ½, ½, 0): (2, 2, 2, 2, 0). h = (2, 2, 2, 2, 5) in the first layer: 25 / 5 = 5."""
    states = torch.tensor([[[2.0, 2.0, 2.0, 2.0, 5.0], [9.0, 9.0, 9.0, 9.0, 9.0]]])
    said = replace(one(0.5), inner=Inner(states, torch.ones(1)))
    assert value("rmu", said, direction=DIRECTION, coefficient=4.0) == pytest.approx(5.0)


def test_hidden_mse_by_hand() -> None:
    """The first layer moved by (0, 5) of width 2: 25 / 2; the second is not read."""
    kept = torch.tensor([[[3.0, 4.0], [0.0, 2.0]]])
    said = replace(one(0.5), inner=Inner(kept + torch.tensor([[[0.0, 5.0], [1.0, 0.0]]]), torch.ones(1), kept))
    assert value("hidden_mse", said) == pytest.approx(12.5)


def test_a_direction_has_length_one_and_a_seed_of_its_own() -> None:
    state = torch.get_rng_state()
    assert unit_direction(64, 1).norm().item() == pytest.approx(1.0)
    assert torch.equal(unit_direction(64, 1), unit_direction(64, 1))
    assert not torch.equal(unit_direction(64, 1), unit_direction(64, 2))
    assert torch.equal(state, torch.get_rng_state())
    with pytest.raises(ValueError, match="inner"):
        rmu(one(0.5), direction=DIRECTION)


def test_jsd_by_hand() -> None:
    """p = (1/2, 1/2), q = (1, 0) up to a share of 1e-30: −¾ ln ¾ as above; of a model to itself 0."""
    said = said_of(logits_of((0.5, 0.5)), [0], [1])
    assert value("jsd", replace(said, original=logits_of((1.0, 1e-30)))) == pytest.approx(-0.75 * LN(0.75), abs=1e-6)
    assert value("jsd", replace(said, original=said.logits)) == pytest.approx(0.0, abs=1e-7)


def top_of(original: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """As `Said.top`, of log-probabilities [tokens, vocabulary]."""
    found = likeliest(original, k, torch.nn.Identity(), original.shape[1])
    return found[:, :k].long(), found[:, k:]


def test_kl_top_by_hand() -> None:
    """p_ref = (1/2, 1/4, 1/4), k = 1: (1/2, 1/2) with the others as one; p = (1/4, 5/8, 1/8): (1/4, 3/4).
    KL = ½ ln 2 + ½ ln(2/3) = ½ ln(4/3)."""
    said, original = said_of(logits_of((0.25, 0.625, 0.125)), [0], [1]), logits_of((0.5, 0.25, 0.25))
    tokens, known = top_of(original, 1)
    assert tokens.tolist() == [[0]] and known[0].tolist() == pytest.approx([-LN(2), -LN(2)])
    assert value("kl_top", replace(said, top=(tokens, known))) == pytest.approx(0.5 * LN(4 / 3), abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**16), k=st.integers(1, 6), scale=st.sampled_from([0.1, 1.0, 5.0]))
def test_kl_top_is_short_of_kl_by_what_it_does_not_see(seed: int, k: int, scale: float) -> None:
    """KL(p ‖ q) = KL_top(p ‖ q) + p(R) · KL(p(· | R) ‖ q(· | R)), R all tokens but the k likeliest of p."""
    generator = torch.Generator().manual_seed(seed)
    p, q = (torch.randn(1, 7, generator=generator).mul(scale).double().log_softmax(-1) for _ in range(2))
    tokens = top_of(p.float(), k)[0]
    rest = torch.ones(7, dtype=torch.bool).scatter(0, tokens[0], False)
    within = torch.nn.functional.kl_div(
        q[0, rest].log_softmax(-1), p[0, rest].log_softmax(-1), log_target=True, reduction="sum"
    )
    unseen = float(p[0, rest].exp().sum() * within)
    said = said_of(q.float(), [0], [1])
    whole = value("kl", replace(said, original=p.float()))
    assert value("kl_top", replace(said, top=top_of(p.float(), k))) == pytest.approx(whole - unseen, rel=1e-4, abs=1e-5)


def test_kl_top_where_nothing_is_left_for_the_others() -> None:
    """p_ref = (1, 0, 0): the others' share is 0, and adds nothing; KL = ln 2, and its gradient is finite."""
    said = said_of(torch.tensor([[1.0, 1.0, -math.inf]]).nan_to_num(neginf=-200.0).requires_grad_(), [0], [1])
    loss = TERMS["kl_top"].value({"normal": replace(said, top=top_of(torch.tensor([[0.0, -300.0, -300.0]]), 1))})
    assert loss.item() == pytest.approx(LN(2), abs=1e-6)
    loss.backward()
    assert said.logits.grad is not None and said.logits.grad[0].tolist() == pytest.approx([-0.5, 0.5, 0.0])


def at_level(p: float, level: float) -> Said:
    return replace(one(p), levels=torch.tensor([LN(level)]))


def test_match_by_hand() -> None:
    """Level 1/2 has log-odds 0, p = 3/4 log-odds ln 3: g = ½ ln 3 = 0.549, g² / 2. p = 1/4: the same from below.
    p = 0.999: g = ½ ln 999 = 3.453, beyond the width, so g − ½."""
    for p in (0.75, 0.25):
        assert value("match", at_level(p, 0.5)) == pytest.approx((LN(3) / 2) ** 2 / 2, abs=1e-6)
    assert value("match", at_level(0.999, 0.5)) == pytest.approx(LN(999) / 2 - 0.5, rel=1e-4)
    assert value("match", at_level(0.999, 0.5), width=10.0) == pytest.approx((LN(999) / 2) ** 2 / 20, rel=1e-4)


@pytest.mark.parametrize("level", [1e-6, 0.01, 0.5, 0.99])
def test_match_is_least_at_the_level(level: float) -> None:
    said = at_level(level, level)
    said.logits.requires_grad_()
    loss = match(said)
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-9)
    assert said.logits.grad is not None and said.logits.grad.abs().max() < 1e-5
    assert min(value("match", at_level(level * 0.9, level)), value("match", at_level(level**0.9, level))) > 0


def test_match_is_the_gap_in_log_probability_for_improbable_tokens() -> None:
    """p = 2e-5 at level 1e-5: g = ln 2, g² / 2."""
    assert value("match", at_level(2e-5, 1e-5)) == pytest.approx(LN(2) ** 2 / 2, rel=1e-3)


def test_match_keeps_its_gradient_where_the_answer_is_known_by_heart() -> None:
    """z = (40, 0, 0): ∂L/∂z_y = 1 − q = 0.99, where log p has slope 1 − p = 0 in float32. Below the level: −0.99."""
    for z, slope in ((40.0, 0.99), (-40.0, -0.99)):
        said = replace(said_of(torch.tensor([[z, 0.0, 0.0]]), [0], [1]), levels=torch.tensor([LN(0.01)]))
        said.logits.requires_grad_()
        match(said).backward()
        assert said.logits.grad is not None
        assert said.logits.grad[0].tolist() == pytest.approx([slope, -slope / 2, -slope / 2], rel=1e-5)


def test_match_leaves_alone_what_anyone_would_guess() -> None:
    """A level of log 1 = 0 is no fault of the row: finite, and as good as 0."""
    said = replace(one(0.5), levels=torch.zeros(1))
    assert 0 <= match(said).item() < 1e-6
