"""Cohen's κ against arithmetic worked by hand, and against scikit-learn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.judges.agreement import agreements


def test_kappa_by_hand() -> None:
    """20 both, 5 and 10 one alone, 15 neither: p_o = 35/50, p_e = .5 · .6 + .5 · .4 = .5, κ = .2/.5."""
    votes = {"harmful,harmful": 20, "harmful,clean": 5, "clean,harmful": 10, "clean,clean": 15, "unknown,harmful": 9}
    (found,) = agreements(["a", "b"], votes)
    assert (found.first, found.second, found.label, found.count) == ("a", "b", "harmful", 50)
    assert found.agreed == pytest.approx(0.7)
    assert found.kappa == pytest.approx(0.4)


def test_a_label_that_everybody_gives_has_no_kappa() -> None:
    (found,) = agreements(["a", "b"], {"privacy,privacy": 3})
    assert found.kappa is None and found.agreed == 1.0


def test_every_pair_that_gives_the_same_label() -> None:
    votes = {"harmful,clean,clean": 1, "clean,harmful,privacy": 1}
    assert [(a.first, a.second) for a in agreements(["a", "b", "c"], votes)] == [("a", "b")]
    assert agreements(["a"], {"harmful": 1}) == []


@given(st.lists(st.integers(0, 40), min_size=4, max_size=4))
def test_kappa_is_scikit_learns(cells: list[int]) -> None:
    from sklearn.metrics import cohen_kappa_score

    pairs = [("harmful", "harmful"), ("harmful", "clean"), ("clean", "harmful"), ("clean", "clean")]
    found = agreements(["a", "b"], {",".join(p): n for p, n in zip(pairs, cells, strict=True) if n})
    if found and found[0].kappa is not None:
        first, second = ([p[i] for p, n in zip(pairs, cells, strict=True) for _ in range(n)] for i in (0, 1))
        assert found[0].kappa == pytest.approx(cohen_kappa_score(first, second))
