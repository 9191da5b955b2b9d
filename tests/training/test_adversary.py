"""The adversary: where it goes, by hand; when its turn is; and that weights are put back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from expunge.encoding import Encoded
from expunge.errors import InputError
from expunge.expected import with_expected
from expunge.model import LanguageModel, load_model
from expunge.selection import Split, split
from expunge.training.active import ActiveSet
from expunge.training.adversary import ROWS, Adversary
from expunge.training.config import UnlearnConfig
from expunge.training.displaced import Displaced
from expunge.training.loss import Loss
from expunge.training.material import Material
from expunge.training.unlearn import unlearn

CONFIG = UnlearnConfig(judge_every=4, adversary=0.5, settle_steps=0)


class Along:
    """A loss whose gradient is known: Σ w of each matrix times a number of its own."""

    def __init__(self, slopes: list[torch.Tensor], weights: list[torch.Tensor]) -> None:
        self.slopes, self.weights, self.asked = slopes, weights, list[tuple[Encoded, ...]]()

    def likelihood(self, model: Any, rows: Any) -> torch.Tensor:
        self.asked.append(tuple(rows))
        return sum(((w * s).sum() for w, s in zip(self.weights, self.slopes, strict=True)), start=torch.zeros(()))


class Turns:
    """What an adversary asks of an active set."""

    tokens = 0

    def attacked(self, step: int) -> bool:
        return step % 2 == 1


def row(i: int) -> Encoded:
    return Encoded((1,), (i,), (True,))


def test_steps_by_hand() -> None:
    """Slopes (3, 4) have root mean square √12.5, slopes (2, 2) have 2; two steps of 0.1 of each move, the next time
    four, and after a judging two again."""
    weights = [torch.zeros(2, requires_grad=True), torch.full((2,), 5.0, requires_grad=True)]
    loss = Along([torch.tensor([3.0, 4.0]), torch.tensor([2.0, 2.0])], weights)
    rows = [row(i) for i in range(20)]
    turns = Turns()
    adversary = Adversary(loss, rows, 0.1, turns, CONFIG)  # type: ignore[arg-type]
    displaced = Displaced(CONFIG, adversary)
    model = torch.nn.Module()
    model.first, model.second = (torch.nn.Parameter(w.detach()) for w in weights)
    loss.weights = list(model.parameters())
    moved = []
    for step in range(6):
        displaced.on_step_begin(None, type("State", (), {"global_step": step}), None, model=model)
        moved.append([p.detach().clone() for p in model.parameters()])
        displaced.on_pre_optimizer_step(None, None, None)
        assert model.first.tolist() == [0, 0] and model.second.tolist() == [5, 5], "put back"
    unit = torch.tensor([3.0, 4.0]) / 12.5**0.5
    for step, steps in enumerate((0, 2, 0, 4, 0, 2)):
        assert torch.allclose(moved[step][0], -0.1 * steps * unit)
        assert torch.allclose(moved[step][1], torch.full((2,), 5.0 - 0.1 * steps))
    assert turns.tokens == 3 * 2 * ROWS * 2, "rows of two tokens"
    first, second = (set().union(*part) for part in (loss.asked[:4], loss.asked[4:]))
    assert all(len(set(asked)) == ROWS for asked in loss.asked)
    assert len(first) <= 10 and len(second) <= 10 and first != second, "half of the rows, another after the judging"


def test_its_offsets_do_not_depend_on_where_a_run_was_taken_up() -> None:
    found = []
    for steps in ((1, 3, 5), (5,)):
        weight = torch.nn.Parameter(torch.ones(3))
        loss = Along([torch.tensor([1.0, 2.0, 3.0])], [weight])
        model = torch.nn.Module()
        model.weight = weight
        adversary = Adversary(loss, [row(i) for i in range(9)], 0.1, Turns(), CONFIG)  # type: ignore[arg-type]
        for step in steps:
            adversary.go(model, [weight], step)
            there = weight.tolist()
            adversary.come_back()
        assert weight.tolist() == [1.0, 1.0, 1.0]
        found.append((there, loss.asked[-2:]))
    assert found[0] == found[1]


def active(lm: LanguageModel, parts: Split, config: UnlearnConfig) -> ActiveSet:
    parts = replace(parts, forget=with_expected(lm, parts.forget))
    material = Material.of(lm.format, parts)
    with TemporaryDirectory() as folder:
        return ActiveSet(lm, parts.forget, [], material, Loss(lm, material, config, Path(folder)), config)


def test_its_turn_is_every_second_step_until_the_model_settles(tiny: Path, parts: Split) -> None:
    found = active(load_model(tiny), parts, replace(CONFIG, max_steps=8))
    assert [found.attacked(step) for step in range(4)] == [False, True, False, True]
    found.settling = True
    assert not any(found.attacked(step) for step in range(8))
    unjudged = active(load_model(tiny), parts, replace(CONFIG, max_steps=8, judged=False))
    assert [step for step in range(8) if unjudged.attacked(step)] == [1, 3]
    none = active(load_model(tiny), parts, replace(CONFIG, adversary=0.0))
    assert not any(none.attacked(step) for step in range(8))
    assert UnlearnConfig().adversary_step(adapter=False) == 0.4 and UnlearnConfig().adversary_step(adapter=True) == 0
    assert UnlearnConfig().adversary_step(adapter=False, levels=True) == 0.1
    assert UnlearnConfig().adversary_step(adapter=True, levels=True) == 0
    assert UnlearnConfig(adversary=0.2).adversary_step(adapter=True, levels=True) == 0.2
    with pytest.raises(InputError, match="adversary"):
        UnlearnConfig(adversary=-1.0)


def test_in_its_turn_all_rows_are_pushed_and_nothing_is_taught(tiny: Path, parts: Split) -> None:
    lm = load_model(tiny)
    found = active(lm, parts, CONFIG)
    found.known = []
    assert found.plan(0).pushed == () and sorted(found.plan(1).pushed) == [0, 1, 2, 3, 4]
    assert (found.without(0), found.without(1)) == ((), ("positive",))
    loss, step = found._loss, found.plan(1)
    values = loss.values(lm.model, step, step, found.without(1))
    whole = loss.values(lm.model, step, step)
    assert values.keys() == whole.keys() - {"positive"}
    assert all(float(values[slot]) == pytest.approx(float(whole[slot]), abs=1e-6) for slot in values)
    taught = sum(len(found._material.expected[i][m]) for i, m in zip(step.forget, step.members, strict=True))
    assert loss.tokens(step) - loss.tokens(step, found.without(1)) == taught > 0


def test_losses_at_its_weights_are_not_the_models(tiny: Path, parts: Split) -> None:
    found = active(load_model(tiny), parts, CONFIG)
    for step, value in enumerate((1.0, 50.0, 3.0, 50.0)):
        found.saw(step, {"normal": torch.tensor(value)})
    assert found._means(4) == {"normal": 2.0}


def test_the_likelihood_it_goes_up_is_the_mean_over_rows_of_nll_a_token(tiny: Path, parts: Split) -> None:
    lm = load_model(tiny)
    loss = active(lm, parts, CONFIG)._loss
    rows = [lm.format.encode(j.dialogue) for j in parts.forget[:3]]
    wanted = []
    for one in rows:
        ids = torch.tensor([one.prompt + one.response])
        log_p = lm.model(input_ids=ids).logits[0].double().log_softmax(-1)
        places = range(len(one.prompt) - 1, len(one) - 1)
        wanted.append(-sum(float(log_p[p, t]) for p, t in zip(places, one.response, strict=True)) / len(one.response))
    assert float(loss.likelihood(lm.model, rows)) == pytest.approx(sum(wanted) / 3, abs=1e-5)


def test_it_changes_what_is_learnt(tiny: Path, parts: Split, tmp_path: Path) -> None:
    quick = replace(CONFIG, max_steps=4, judge_every=2, forget_rows=4, normal_rows=4, learning_rate=1e-3)
    found = [
        load_file(unlearn(load_model(tiny), parts, tmp_path / str(a), config=replace(quick, adversary=a)).path / FILE)
        for a in (0.0, 0.5)
    ]
    assert any(not torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_where_tokens_go_to_levels_it_takes_shorter_steps(tiny: Path, parts: Split, tmp_path: Path) -> None:
    """At the other rate the loss that does not fade took a small model past its normal budget."""
    apart = split(parts.forget, parts.normal[:5], never_seen=parts.normal[5:])
    quick = UnlearnConfig(max_steps=4, judge_every=2, settle_steps=0, forget_rows=4, normal_rows=4, noise=0.0)
    found = [
        load_file(unlearn(load_model(tiny), apart, tmp_path / str(a), config=replace(quick, adversary=a)).path / FILE)
        for a in (None, 0.1, 0.4)
    ]
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    assert any(not torch.equal(found[0][name], found[2][name]) for name in found[0])


FILE = "model.safetensors"
