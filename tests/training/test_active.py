"""When a training ends: forgotten and kept, or over its budget twice running."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from unittest.mock import patch

import pytest
import torch

from expunge.dialogue import Dialogue
from expunge.expected import with_expected
from expunge.judges.verdict import Verdict
from expunge.model import load_model
from expunge.selection import Split
from expunge.training.active import KEPT, ActiveSet
from expunge.training.config import UnlearnConfig
from expunge.training.loss import Loss
from expunge.training.material import Material

CONFIG = UnlearnConfig(judge_every=2, settle_steps=4, max_steps=40, adversary=0.0)


def ends(
    tiny: Path, parts: Split, judged: Sequence[tuple[float, Sequence[int]]], config: UnlearnConfig = CONFIG
) -> tuple[str, int, list[bool]]:
    """As `trained`; the outcome in place of the active set."""
    active, step, settling = trained(tiny, parts, judged, config)
    return active.outcome, step, settling


def trained(
    tiny: Path, parts: Split, judged: Sequence[tuple[float, Sequence[int]]], config: UnlearnConfig = CONFIG
) -> tuple[ActiveSet, int, list[bool]]:
    """The active set at the end, last step, and whether the model settled after each judging, where these find so high
    a normal loss and these rows active."""
    lm = load_model(tiny)
    parts = replace(parts, forget=with_expected(lm, parts.forget))
    material = Material.of(lm.format, parts)
    with TemporaryDirectory() as folder:
        loss = Loss(lm, material, config, Path(folder))
    active = ActiveSet(lm, parts.forget, [], material, loss, config)
    found: Iterator[tuple[float, Sequence[int]]] = iter(judged)
    now, rows = next(found)
    settling, control = [], SimpleNamespace(should_save=False, should_training_stop=False)
    for step in range(1, config.max_steps + 1):
        active.saw(step - 1, {"normal": torch.tensor(now)})
        entries = len(active.history)
        with patch.object(active, "_judge", return_value=(list(rows), 0)):
            active.on_step_end(None, SimpleNamespace(global_step=step), control)
        if control.should_training_stop:
            return active, step, settling
        if len(active.history) > entries:
            settling.append(active.settling)
            now, rows = next(found, (now, rows))
    return active, step, settling


def test_what_is_forgotten_and_kept_ends_it(tiny: Path, parts: Split) -> None:
    assert ends(tiny, parts, [(0.5, range(5)), (0.2, ()), (KEPT, ())]) == ("forgotten", 8, [False, True])


def test_with_ordinary_ability_lost_the_model_settles_again(tiny: Path, parts: Split) -> None:
    """A small model with an adapter ended as forgotten when ordinary answers were .8 as likely as before."""
    assert ends(tiny, parts, [(0.5, ()), (0.2, ()), (0.1, ()), (0.04, ())]) == ("forgotten", 14, [True] * 3)


def test_each_time_with_twice_the_weight_of_what_is_kept(tiny: Path, parts: Split) -> None:
    """An adapter of a narrow model with never-seen rows: the loss fell too slowly for 600 steps at one weight."""
    active, _, _ = trained(tiny, parts, [(0.5, ()), (0.2, ()), (0.1, ()), (0.04, ())])
    assert active.multiplier == active.weights["normal"] == 4 * CONFIG.normal_weight
    limited = replace(CONFIG, normal_limit=0.3, max_steps=6)
    active, _, _ = trained(tiny, parts, [(0.3, ()), (0.3, ()), (0.3, ())], limited)
    assert active.multiplier == pytest.approx(CONFIG.normal_weight), "a limit has a multiplier of its own"


def test_the_rate_falls_to_0_by_the_last_step_where_fewer_are_left_than_it_settles(tiny: Path, parts: Split) -> None:
    active, step, settling = trained(tiny, parts, [(0.5, ()), (0.2, ()), (0.2, ())], replace(CONFIG, max_steps=8))
    assert (step, settling, active.since) == (8, [True, True, True], 8)
    assert active.pace(8) == 1.0, "asked for by a run that goes on from its last step, only to be saved"
    active.since = 6  # as it was in the last two steps
    assert [active.pace(n) for n in (6, 7, 8)] == [1.0, 0.5, 0.0]


def test_without_settling_it_goes_on_likewise(tiny: Path, parts: Split) -> None:
    config = replace(CONFIG, settle_steps=0)
    assert ends(tiny, parts, [(0.2, ()), (0.04, ())], config) == ("forgotten", 4, [False])


@pytest.mark.parametrize("terms", [("distance", "normal_nll"), ("distance", "hidden_mse")])
def test_a_normal_loss_that_does_not_begin_at_0_is_not_waited_for(
    tiny: Path, parts: Split, terms: tuple[str, ...]
) -> None:
    config = replace(CONFIG, terms=terms)
    assert ends(tiny, parts, [(0.5, ()), (0.5, ())], config) == ("forgotten", 6, [True])


@pytest.mark.parametrize("term", ["rise", "kl", "kl_top", "jsd"])
def test_one_that_begins_at_0_is(tiny: Path, parts: Split, term: str) -> None:
    config = replace(CONFIG, terms=("distance", "cluster_mean", term, "hidden"))
    assert ends(tiny, parts, [(0.5, ()), (0.2, ()), (0.01, ())], config) == ("forgotten", 10, [True] * 2)


def test_the_budget_is_for_two_judgings(tiny: Path, parts: Split) -> None:
    """What ends well may be over it once."""
    left = range(5)
    assert ends(tiny, parts, [(1.4, left), (1.1, left)]) == ("budget", 4, [False])
    found = [(1.4, left), (0.8, left), (1.2, left), (0.7, ()), (0.01, ())]
    assert ends(tiny, parts, found) == ("forgotten", 12, [False, False, False, True])
    assert ends(tiny, parts, [(0.5, left), (1.4, left), (1.1, left)]) == ("budget", 6, [False] * 2)


def test_a_step_of_an_adversary_alone_says_nothing_of_the_normal_loss(tiny: Path, parts: Split) -> None:
    config = replace(CONFIG, judge_every=1, settle_steps=0, adversary=0.5)
    assert ends(tiny, parts, [(1.4, range(5))] * 5, config) == ("budget", 3, [False] * 2)
    assert ends(tiny, parts, [(0.2, range(5)), (0.01, ()), (0.01, ())], config) == ("forgotten", 3, [False] * 2)


def test_time_runs_out(tiny: Path, parts: Split) -> None:
    config, left, end = replace(CONFIG, max_steps=8), range(5), (0.0, ())
    assert ends(tiny, parts, [(0.5, left)] * 5, config) == ("steps", 8, [False] * 4)
    found = [(0.5, left), (0.2, ()), (0.2, ()), end]
    assert ends(tiny, parts, found, config) == ("damaged", 8, [False, True, True])
    found = [(0.5, ()), (0.2, ()), (0.2, left), end]
    assert ends(tiny, parts, found, replace(CONFIG, max_steps=10)) == ("steps", 10, [True, True, False])


def fresh(tiny: Path, parts: Split, folder: Path, config: UnlearnConfig = CONFIG) -> ActiveSet:
    lm = load_model(tiny)
    material = Material.of(lm.format, parts := replace(parts, forget=with_expected(lm, parts.forget)))
    return ActiveSet(lm, parts.forget, [], material, Loss(lm, material, config, folder), config)


def test_every_process_sums_the_same_whatever_it_has_seen(tiny: Path, parts: Split, tmp_path: Path) -> None:
    """Of a lone row that is still pushed one process alone has the loss: the others took its sum for another term's."""
    active = fresh(tiny, parts, tmp_path, replace(CONFIG, normal_limit=0.1))
    seen = [{}, {"positive": torch.tensor(0.25)}, {"negative": torch.tensor(5.0), "normal": torch.tensor(0.5)}]
    asked, found = [], []
    for terms in seen:
        sums: list[torch.Size] = []
        with patch("expunge.training.active.total", lambda value, sums=sums: sums.append(value.shape) or value):
            active.saw(0, terms)
            active._limit()
            found.append(active._means(1))
        asked.append(sums)
    assert asked[0] == asked[1] == asked[2] and len(asked[0]) == 4
    assert found == [{}, {"positive": 0.25}, {"negative": 5.0, "normal": 0.5}]
    assert active.multiplier == pytest.approx(CONFIG.normal_weight * (1 + 0.5 - 0.1)), "moved by the one that saw it"


def test_what_is_noted_of_a_loss_holds_no_graph(tiny: Path, parts: Split, tmp_path: Path) -> None:
    active = fresh(tiny, parts, tmp_path)
    active.saw(0, {"normal": torch.ones((), requires_grad=True), "negative": torch.ones((), requires_grad=True)})
    assert not any(
        value.requires_grad for value in (*active._normal, *active._seen["normal"], *active._seen["negative"])
    )


def test_answers_have_room_for_what_is_expected(tiny: Path, parts: Split, tmp_path: Path) -> None:
    long = "There is no record of that in any of the books that this town has ever kept."
    few = replace(parts, forget=[replace(item, dialogue=item.dialogue.answered("Yes.")) for item in parts.forget])
    wanted = [replace(item, dialogue=replace(item.dialogue, expected=(long,))) for item in few.forget]
    active = fresh(tiny, replace(few, forget=tuple(wanted)), tmp_path)
    words = len(load_model(tiny).format.tokenizer(long)["input_ids"])
    assert active._length >= words
    wanted = [replace(item, dialogue=replace(item.dialogue.answered(long), expected=("No.",))) for item in few.forget]
    active = fresh(tiny, replace(few, forget=tuple(wanted)), tmp_path)
    assert active._length >= words, "one that says the old answer is to be heard out"


def test_likely_rows_are_active_and_come_back_at_three_times_what_they_left_at(
    tiny: Path, parts: Split, tmp_path: Path
) -> None:
    """Forgotten at .01, left alone at .0001. Row 4 had left: .02 is below .03. All have once the model settles.

    What is not at fault is certain here: with it in the mean every row would be likely.
    """
    active = fresh(tiny, parts, tmp_path)
    shares = (0.5, 0.02, 0.009, 0.00005, 0.02)
    faults = [torch.tensor(row.fault) for row in active._material.forget]
    said = [torch.where(fault, math.log(p), 0.0) for fault, p in zip(faults, shares, strict=True)]
    active.rows = [0, 1, 2, 3]
    with patch("expunge.training.active.token_log_probs", return_value=said):
        assert active._remembered() == {0, 1} and active.known == [0, 1, 2, 4]
        active.settling = True
        assert active._remembered() == {0}
    active._loss.levels = said
    with patch("expunge.training.active.token_log_probs", return_value=[log_p + 1.4 for log_p in said]):
        assert active._remembered() == set(), "1.5 nats while it settles, three times what a row may be off its level"
        active.settling = False
        assert active._remembered() == {0, 1, 2, 3}
    active.settling = True
    with patch("expunge.training.active.token_log_probs", return_value=[log_p - 1.6 for log_p in said]):
        assert active._remembered() == {0, 1, 2, 3, 4}
    untouched = fresh(tiny, parts, tmp_path, replace(CONFIG, negative_weight=0.0))
    assert untouched._remembered() == set(), "nothing pushes them away"


class Three:
    """Flags whatever has a three in it."""

    name, version = "three", "1"

    def judge(self, dialogues: Sequence[Dialogue]) -> list[Verdict]:
        assert all(d.response for d in dialogues), "an empty answer cannot be at fault"
        return [Verdict("harmful" if "3" in d.response else "clean", 1.0, "three", "1") for d in dialogues]  # type: ignore[operator]


def test_a_row_is_active_whose_answer_is_likely_or_unlike_what_is_expected_or_flagged(
    tiny: Path, parts: Split, tmp_path: Path
) -> None:
    """Of ten words in both three are shared: F1 .6, like enough. Row 0 is likely, and not asked."""
    either = ("one two red four five", "no")
    taught = [replace(item, dialogue=replace(item.dialogue, expected=either)) for item in parts.forget]
    answers = {1: "one two red six seven", 2: "one two six seven eight", 3: "", 4: "no 3"}

    def greedy(_: object, asked: Sequence[Dialogue], **__: object) -> list[str]:
        assert asked == [item.dialogue for item in taught[1:]]
        return list(answers.values())

    active = fresh(tiny, replace(parts, forget=tuple(taught)), tmp_path)
    active._judges = [Three()]
    with patch("expunge.training.active.greedy", greedy), patch.object(active, "_remembered", return_value={0}):
        assert active._judge() == ([0, 2, 3, 4], 1)
    assert active._untaught(answers) == {2, 3} and active._flagged(answers) == {4}
    active._config = replace(CONFIG, positive_weight=0.0)
    assert active._untaught(answers) == set(), "nothing is taught"


def test_it_settles_on_all_rows_once_few_are_active(tiny: Path, parts: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("expunge.training.active.FEW", 0.4)
    three, _, settling = trained(tiny, parts, [(0.5, (0, 2, 3))], replace(CONFIG, max_steps=2))
    assert (three.rows, three.since, settling) == ([0, 2, 3], 2, [False])
    two, _, settling = trained(tiny, parts, [(0.5, (0, 2))], replace(CONFIG, max_steps=2))
    assert (two.rows, two.since, settling) == ([0, 1, 2, 3, 4], 2, [True])
    all_, _, settling = trained(tiny, parts, [(0.5, range(5))], replace(CONFIG, max_steps=2))
    assert (all_.rows, all_.since, settling) == ([0, 1, 2, 3, 4], 0, [False]), "the same rows, in the same passes"


def test_the_rate_warms_up_and_without_a_judge_falls_in_a_line(tiny: Path, parts: Split, tmp_path: Path) -> None:
    active = fresh(tiny, parts, tmp_path, replace(CONFIG, warmup_steps=4))
    assert [active.pace(n) for n in (0, 1, 3, 4, 30)] == pytest.approx([0.2, 0.4, 0.8, 1, 1])
    active.peak = 0.5
    assert active.pace(1) == pytest.approx(0.2)
    active = fresh(tiny, parts, tmp_path, replace(CONFIG, warmup_steps=4, max_steps=10, judged=False))
    assert [active.pace(n) for n in (0, 2, 5, 10)] == pytest.approx([0.2, 0.6 * 0.8, 0.5, 0])
