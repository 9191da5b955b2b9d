"""The linear probe: against numpy's least squares, row by row; and what was hidden by a turn of the states is found."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from slow import SETS, average, by_key, three_models
from test_depth import FORGET, known, slow_read, slow_states

from expunge.audit.depth import depth
from expunge.audit.probes import Case
from expunge.audit.reading import Sets, encode_old
from expunge.audit.translation import RIDGE, lessons, translators
from expunge.dialogue import Dialogue
from expunge.message import Message
from expunge.model import LanguageModel, load_model

ORDINARY = tuple(
    Dialogue((Message("user", f"What is {a} and {b}?"), Message("assistant", f"It is {a + b}, as {b} and {a}.")))
    for a in range(4)
    for b in range(12)
)


def test_the_maps_equal_least_squares(tiny: Path) -> None:
    after, before, _ = three_models(tiny)
    rows = [before.format.encode(d) for d in ORDINARY]
    found = translators(after, lessons(before, rows), [0, 1])
    with torch.no_grad():
        states = [
            [torch.cat([slow_states(lm.model, [*r.prompt, *r.response])[n][0] for r in rows]).numpy() for n in (1, 2)]
            for lm in (after, before)
        ]
    wanted = states[1][-1]
    for layer, known_states in enumerate(states[0]):
        x = np.concatenate([known_states, np.ones((len(known_states), 1))], 1)
        ridge = np.eye(x.shape[1]) * np.sqrt(RIDGE * np.diag(x.T @ x).mean())
        solved = np.linalg.lstsq(np.concatenate([x, ridge]), np.concatenate([wanted, 0 * ridge[:, 1:]]), rcond=None)[0]
        got = x @ found[layer].numpy()
        assert np.abs(got - x @ solved).max() < 1e-6 * np.abs(wanted).max()


def test_a_row_is_read_as_by_hand(tiny: Path) -> None:
    after, before, oracle = three_models(tiny)
    sets = Sets(FORGET, ability=ORDINARY)
    found = by_key(depth(Case(after, before, oracle, sets, ())))
    maps = translators(after, lessons(before, [before.format.encode(d) for d in ORDINARY]), [0, 1])
    for layer in (0, 1):
        shares = []
        for row in encode_old(after, FORGET):
            with torch.no_grad():
                state = slow_states(after.model, [*row.prompt, *row.response])[layer + 1][0]
                last = torch.cat([state, torch.ones(len(state), 1)], 1) @ maps[layer]
                log_p = before.model.lm_head(before.model.model.norm(last)).log_softmax(-1)
            places = [len(row.prompt) - 1 + i for i, fault in enumerate(row.fault) if fault]
            tokens = [token for token, fault in zip(row.response, row.fault, strict=True) if fault]
            shares.append(float(log_p[places, tokens].mean().exp()))
        assert found[f"depth_probed_layer{layer + 1}"].after.value == pytest.approx(average(shares), rel=1e-6)


def turned(lm: LanguageModel) -> LanguageModel:
    """The same states after the last layer, in another order, and a head that says nothing of them."""
    model = copy.deepcopy(lm.model)
    order = torch.randperm(model.config.hidden_size, generator=torch.Generator().manual_seed(0))
    model.model.layers[-1].register_forward_hook(lambda module, given, out: out[..., order])
    with torch.no_grad():
        model.lm_head.weight.neg_()
    return replace(lm, model=model)


def test_what_a_turn_of_the_states_hides_is_found(tiny: Path) -> None:
    """Neither the model's own head nor the original's reads it: they expect the numbers in their places."""
    before = known(tiny)
    sets = Sets(FORGET * 8, ability=ORDINARY)
    found = by_key(depth(Case(turned(before), before, load_model(tiny), sets, ())))
    (row,) = encode_old(before, FORGET[1:2])
    with torch.no_grad():
        assert slow_read(before, before, row, 2, "lens")[0] > 0.9
    assert found["depth_probed_layer2"].after.value > 0.8
    assert max(found[f"depth_{way}_layer2"].after.value for way in ("lens", "patched")) < 0.1
    assert found["depth_probed"].after.low > 0.3


def test_without_an_oracle_the_probe_decides_nothing(tiny: Path) -> None:
    after, before, _ = three_models(tiny)
    found = by_key(depth(Case(after, before, None, Sets(FORGET, ability=ORDINARY), ())))
    assert {key for key in found if "probed" in key} == {"depth_probed_layer1", "depth_probed_layer2"}


def test_without_ordinary_dialogues_there_is_no_probe(tiny: Path) -> None:
    after, before, oracle = three_models(tiny)
    assert not any("probed" in m.key for m in depth(Case(after, before, oracle, SETS, ())))
