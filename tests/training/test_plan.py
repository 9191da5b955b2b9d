"""Which rows make up a step: a pure function, so that a resumed run plans what the killed one would have."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge.encoding import Encoded
from expunge.errors import InputError
from expunge.training.config import UnlearnConfig
from expunge.training.material import NEAR, Material, cluster_mean, plan_step, reachable_normal

ROW = Encoded((1,), (2,), (True,))


def material(forget: int = 6, members: int = 3, normal: int = 10, neighbours: int = 4) -> Material:
    return Material(
        forget=(ROW,) * forget,
        expected=((ROW,) * members,) * forget,
        means=(cluster_mean((ROW,) * members),) * forget,
        normal=(ROW,) * normal,
        neighbours=tuple(range(neighbours)),
    )


def test_each_active_row_comes_once_a_pass_and_its_members_in_turn() -> None:
    config = UnlearnConfig(forget_rows=3, normal_rows=4)
    steps = [
        plan_step(step, 0, range(6), range(6), material(), config) for step in range(6)
    ]  # three passes over six rows
    seen = Counter(row for step in steps for row in step.forget)
    assert seen == Counter(dict.fromkeys(range(6), 3))
    taught = {pair for step in steps for pair in zip(step.forget, step.members, strict=True)}
    assert taught == {(row, member) for row in range(6) for member in range(3)}


def test_passes_are_counted_from_where_the_active_set_last_changed() -> None:
    """Two of six are active: half of four places are theirs, and in two steps each of the other four comes once."""
    steps = [plan_step(step, 7, [1, 4], range(6), material(), UnlearnConfig(forget_rows=4)) for step in range(7, 11)]
    assert all(set(step.forget[:2]) == {1, 4} for step in steps)
    for first, second in (steps[:2], steps[2:]):
        assert sorted((*first.forget[2:], *second.forget[2:])) == [0, 2, 3, 5]


@pytest.mark.parametrize("steps", [1, 2, 5, 14])
def test_the_normal_rows_that_are_reachable_are_those_of_all_steps(steps: int) -> None:
    config, all_ = UnlearnConfig(max_steps=steps, normal_rows=3), material()
    plans = [plan_step(step, 0, range(6), range(6), all_, config) for step in range(steps)]
    assert reachable_normal(all_, config) == {i for plan in plans for i in plan.normal}


def test_a_fixed_share_of_the_normal_rows_are_neighbours() -> None:
    config = UnlearnConfig(normal_rows=20)
    for step in range(5):
        rows = plan_step(step, 0, range(6), range(6), material(normal=60, neighbours=30), config).normal
        assert sum(row < 30 for row in rows) == 9 == 20 * NEAR
    assert len(plan_step(0, 0, range(6), range(6), material(neighbours=0), config).normal) == 20


def test_thoughts_and_answers_come_beside_the_answers_right_away() -> None:
    """Else a model that thinks first would be shown half as many questions a step."""
    config, all_ = UnlearnConfig(normal_rows=6), replace(material(normal=12, neighbours=6), beside={0: 3, 1: 11, 8: 9})
    seen = Counter[int]()
    for step in range(20):
        rows = Counter(plan_step(step, 0, range(6), range(6), all_, config).normal)
        assert [rows[alone] for alone in all_.beside] == [rows[with_it] for with_it in all_.beside.values()]
        assert sum(count for row, count in rows.items() if row not in all_.beside.values()) == 6
        seen += rows
    assert set(seen) == set(range(12))


@settings(max_examples=60, deadline=None)
@given(
    step=st.integers(0, 500),
    since=st.integers(0, 500),
    active=st.sets(st.integers(0, 5), min_size=1),
    known=st.sets(st.integers(0, 5)),
    rows=st.integers(1, 9),
    normal=st.integers(1, 25),
    parts=st.integers(1, 5),
    seed=st.integers(0, 3),
)
def test_a_step_is_a_function_of_its_arguments_and_its_parts_make_it_up(
    step: int, since: int, active: set[int], known: set[int], rows: int, normal: int, parts: int, seed: int
) -> None:
    config = UnlearnConfig(forget_rows=rows, normal_rows=normal, seed=seed)
    since = min(since, step)
    whole = plan_step(step, since, sorted(active), known, material(), config)
    assert whole == plan_step(step, since, sorted(active), known, material(), config)
    assert len(whole.forget) == len(whole.members) == min(rows, 6)
    assert whole.pushed == tuple(i for i in whole.forget if i in known)
    spare = rows // 2 if len(active) < 3 else 0
    assert sum(i in active for i in whole.forget) == min(len(active), rows - spare), "most are not active: rehearse"
    assert len(whole.normal) == normal
    pieces = [whole.part(number, parts) for number in range(parts)]
    assert sorted(i for piece in pieces for i in piece.forget) == sorted(whole.forget)
    assert sorted(i for piece in pieces for i in piece.normal) == sorted(whole.normal)


def test_the_cluster_mean_shares_out_what_follows_each_beginning() -> None:
    """Members 1 2 9, 1 3 9, 4 9: after nothing, 1 has 2/3 and 4 has 1/3; after 1, 2 and 3 have 1/2 each."""
    members = [Encoded((0,), response, (True,) * len(response)) for response in ((1, 2, 9), (1, 3, 9), (4, 9))]
    first, second, third = cluster_mean(members)
    assert first == (((1, 2 / 3), (4, 1 / 3)), ((2, 0.5), (3, 0.5)), ((9, 1.0),))
    assert second == (first[0], first[1], ((9, 1.0),))
    assert third == (first[0], ((9, 1.0),))


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_steps": 0},
        {"negative_weight": -1.0},
        {"noise": -1.0},
        {"noise": math.inf},
        {"learning_rate": math.nan},
        {"ignorance": 1.0},
        {"ignorance": 0.5},
        {"negative_weight": 0.0, "positive_weight": 0.0},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        UnlearnConfig(**wrong)  # type: ignore[arg-type]


def test_an_adapter_is_pushed_further_by_the_default_alone() -> None:
    full, adapter = UnlearnConfig.of(), UnlearnConfig.of(lora_rank=8)
    assert (full.ignorance, full.forgotten) == (1e-4, 0.01) and UnlearnConfig.of(lora_rank=0) == full
    assert (adapter.ignorance, adapter.forgotten) == (1e-5, 0.003)
    assert UnlearnConfig.of(lora_rank=8, forgotten=0.02).forgotten == 0.02, "what is given holds"
    assert UnlearnConfig.of("paper", lora_rank=8).forgotten == 0.01


def test_the_learning_rate_follows_the_width() -> None:
    assert UnlearnConfig().rate(192) == pytest.approx(2e-3)
    assert UnlearnConfig().rate(128) == pytest.approx(2e-3)
    assert UnlearnConfig(lora_rank=8).rate(192) == pytest.approx(8e-3)
    assert UnlearnConfig(method="npo", lora_rank=8).rate(192) == pytest.approx(4e-3)
    assert UnlearnConfig().rate(4096) == pytest.approx(2.03e-5, rel=0.05)
    assert UnlearnConfig(learning_rate=3e-4).rate(192) == 3e-4
