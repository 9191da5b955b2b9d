"""Levels: how likely each token of a forget row would be to a model that never saw it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from expunge.encoding import Encoded
from expunge.errors import InputError
from expunge.expected import with_expected
from expunge.generation import token_log_probs
from expunge.model import load_model
from expunge.selection import Split, split
from expunge.training.active import OFF, RETURN
from expunge.training.config import UnlearnConfig
from expunge.training.levels import CERTAIN, Levels, Ngrams
from expunge.training.material import Material
from expunge.training.unlearn import _trainer, unlearn


def row(prompt: tuple[int, ...], response: tuple[int, ...]) -> Encoded:
    return Encoded(prompt, response, (True,) * len(response))


def test_ngrams_by_hand() -> None:
    """Responses 5 6 and 5 7 after the prompt 1 2, of a vocabulary of 8.

    One token: n = 4, of 3 kinds: p(5) = (2 + 3/8) / 7, p(6) = (1 + 3/8) / 7. After 2: 5 twice, one kind, p(5) = (2 +
    p₁(5)) / 3; after 1 2 the same again. After 5: two kinds, p(6) = (1 + 2 p₁(6)) / 4; after 2 5 the same again.
    """
    ngrams = Ngrams([row((1, 2), (5, 6)), row((1, 2), (5, 7))], 8)
    five, six = (2 + 3 / 8) / 7, (1 + 3 / 8) / 7
    first = (2 + (2 + five) / 3) / 3
    second = (1 + 2 * (1 + 2 * six) / 4) / 4
    assert ngrams.log_probabilities(row((1, 2), (5, 6))) == pytest.approx([math.log(first), math.log(second)])
    unknown = ngrams.log_probabilities(row((3, 4), (0,)))
    assert unknown == pytest.approx([math.log((0 + 3 / 8) / 7)]), "contexts never met say nothing"


@given(rows=st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=6), min_size=1, max_size=6))
def test_ngrams_sum_to_one(rows: list[list[int]]) -> None:
    ngrams = Ngrams([row((0, 1), tuple(r)) for r in rows], 5)
    for context in ((0, 1), (2, 3), tuple(rows[0][-2:])):
        total = sum(math.exp(ngrams.log_probabilities(row(context, (v,)))[0]) for v in range(5))
        assert total == pytest.approx(1.0)


def test_levels_are_spread_as_what_the_model_makes_of_rows_never_seen(tiny: Path, parts: Split) -> None:
    lm = load_model(tiny)
    normal = [lm.format.encode(d) for d in parts.normal]
    holdout, forget = normal[:5], normal[:5]
    found = torch.cat(Levels(forget, normal[5:], holdout, lm.vocabulary).now(lm))
    said = torch.cat(list(token_log_probs(lm, holdout))).clamp_max(CERTAIN).float()
    assert found.min() >= said.min() and found.max() <= CERTAIN
    assert float(found.mean()) == pytest.approx(float(said.mean()), abs=0.3)
    form = torch.tensor([p for r in forget for p in Ngrams(normal[5:], lm.vocabulary).log_probabilities(r)])
    order = form.argsort()
    assert (found[order].diff() >= -1e-5).all(), "the likelier by its form, the higher the level"


def test_with_rows_never_seen_the_forget_rows_end_at_their_level(tiny: Path, parts: Split, tmp_path: Path) -> None:
    lm = load_model(tiny)
    apart = split(parts.forget, parts.normal[:5], never_seen=parts.normal[5:])
    config = UnlearnConfig.of(
        max_steps=60, learning_rate=5e-3, epsilon=1e-8, noise=0.0, judged=False, positive_weight=0.0, warmup_steps=0
    )
    rows = [lm.format.encode(j.dialogue, j.spans) for j in apart.forget]
    encoded = [[lm.format.encode(d) for d in dialogues] for dialogues in (apart.normal, apart.never_seen)]
    levels = Levels(rows, *encoded, lm.vocabulary)
    first = levels.now(lm)
    after = load_model(unlearn(lm, apart, tmp_path, config=config).path)
    said, last = token_log_probs(after, rows), levels.now(after)
    gaps = [float((p - q)[torch.tensor(r.fault)].abs().mean()) for p, q, r in zip(said, last, rows, strict=True)]
    before = token_log_probs(load_model(tiny), rows)
    were = [float((p - q)[torch.tensor(r.fault)].abs().mean()) for p, q, r in zip(before, first, rows, strict=True)]
    assert sum(gaps) < 0.2 * sum(were), "closer from both sides"


def test_the_judge_stops_when_all_rows_are_at_their_level(tiny: Path, parts: Split, tmp_path: Path) -> None:
    lm = load_model(tiny)
    apart = split(parts.forget, parts.normal[:5], never_seen=parts.normal[5:])
    config = UnlearnConfig.of(
        max_steps=300, judge_every=10, settle_steps=10, learning_rate=5e-3, epsilon=1e-8, noise=0.0, positive_weight=0.0
    )
    rows = [lm.format.encode(j.dialogue, j.spans) for j in apart.forget]
    encoded = [[lm.format.encode(d) for d in dialogues] for dialogues in (apart.normal, apart.never_seen)]
    done = unlearn(lm, apart, tmp_path, config=config)
    assert done.outcome == "forgotten" and done.steps < 300
    after = load_model(done.path)
    levels = Levels(rows, *encoded, lm.vocabulary).now(after)
    for said, level, row in zip(token_log_probs(after, rows), levels, rows, strict=True):
        assert abs(float((said - level)[torch.tensor(row.fault)].mean())) <= OFF * RETURN


def test_a_row_off_its_level_is_active_whether_above_or_below(tiny: Path, parts: Split, tmp_path: Path) -> None:
    lm = load_model(tiny)
    apart = split(with_expected(lm, parts.forget), parts.normal[:5], never_seen=parts.normal[5:])
    material = Material.of(lm.format, apart)
    _, active = _trainer(lm, apart, material, (), UnlearnConfig.of(positive_weight=0.0), tmp_path, None)
    said = token_log_probs(lm, material.forget)
    for gap, wanted in ((0.0, []), (0.4, []), (-0.4, []), (0.6, [0, 1, 2, 3, 4]), (-0.6, [0, 1, 2, 3, 4])):
        active._loss.levels = [log_p + gap for log_p in said]
        assert sorted(active._off_level(said)) == wanted


class Killed(BaseException):
    pass


def test_a_killed_run_takes_its_levels_up_again(tiny: Path, parts: Split, tmp_path: Path) -> None:
    apart = split(parts.forget, parts.normal[:5], never_seen=parts.normal[5:])
    config = UnlearnConfig.of(max_steps=6, judge_every=2, settle_steps=0, learning_rate=5e-3)

    def kill(entry: dict[str, Any]) -> None:
        if entry["step"] == 4:
            raise Killed

    straight = unlearn(load_model(tiny), apart, tmp_path / "straight", config=config)
    with pytest.raises(Killed):
        unlearn(load_model(tiny), apart, tmp_path / "killed", config=config, on_round=kill)
    resumed = unlearn(load_model(tiny), apart, tmp_path / "killed", config=config)
    a, b = (load_file(next(done.path.glob("*.safetensors"))) for done in (straight, resumed))
    assert all(torch.equal(a[name], b[name]) for name in a) and straight.history == resumed.history


def test_what_was_never_seen_is_neither_forgotten_nor_kept(parts: Split) -> None:
    for wrong in (parts.normal[0], parts.forget[0].dialogue):
        with pytest.raises(InputError, match="never seen"):
            split(parts.forget, parts.normal, never_seen=[wrong])


def test_a_target_needs_rows_never_seen(tiny: Path, parts: Split, tmp_path: Path) -> None:
    config = UnlearnConfig.of(terms=("match", "kl"), max_steps=2)
    with pytest.raises(InputError, match="never seen"):
        unlearn(load_model(tiny), parts, tmp_path, config=config)
