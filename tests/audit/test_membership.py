"""Membership inference against slow references in plain Python, scikit-learn, and cases worked by hand."""

from __future__ import annotations

import copy
import math
import random
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from slow import SETS, average, by_key, case, dialogue, figures, slow, slow_mean, three_models
from transformers import LlamaConfig, LlamaForCausalLM

from expunge import demo
from expunge.audit import intervals
from expunge.audit.audit import audit
from expunge.audit.gradients import gradient_norms
from expunge.audit.membership import membership, min_k, min_k_plus_plus
from expunge.audit.probes import Case
from expunge.audit.reading import Sets
from expunge.audit.result import Estimate, read_audit
from expunge.audit.scores import Scores
from expunge.dialogue import Dialogue, read_dialogues
from expunge.errors import InputError
from expunge.generation import TokenScores, token_scores
from expunge.judges.verdict import Judged, Verdict
from expunge.model import LanguageModel, load_model
from expunge.report.wording import change


@pytest.fixture(scope="module")
def models(tiny: Path) -> list[LanguageModel]:
    return three_models(tiny)


ROWS = st.lists(st.integers(0, 6).map(float), min_size=1, max_size=12)


def lowest(values: list[float]) -> float:
    return average(sorted(values)[: max(1, int(0.4 * len(values)))])


def slow_attacks(lm: LanguageModel, original: LanguageModel, item: Dialogue) -> dict[str, float]:
    tokens = list(slow(lm, lm.format.encode(item)))
    standard = []
    for picked, log_p, _ in tokens:
        mean = sum(math.exp(x) * x for x in log_p)
        standard.append((picked - mean) / math.sqrt(sum(math.exp(x) * (x - mean) ** 2 for x in log_p)))
    loss = average([picked for picked, _, _ in tokens])
    return {
        "loss": loss,
        "zlib": loss / len(zlib.compress((item.response or "").encode())),
        "reference": loss - slow_mean(original, item),
        "mink": lowest([picked for picked, _, _ in tokens]),
        "minkpp": lowest(standard),
        "gradient": -slow_gradient_norm(lm, item),
    }


def slow_gradient_norm(lm: LanguageModel, item: Dialogue) -> float:
    """A backward through a copy of the whole model; of its gradient the last layer's, number by number."""
    row, model = lm.format.encode(item), copy.deepcopy(lm.model)
    log_p = model(torch.tensor([row.prompt + row.response])).logits[0].log_softmax(-1)
    picked = [log_p[place, token] for place, token in enumerate(row.response, start=len(row.prompt) - 1)]
    (-torch.stack(picked).sum() / len(picked)).backward()
    return math.sqrt(sum(g * g for p in model.model.layers[-1].parameters() for g in p.grad.flatten().tolist()))


def slow_auc(members: list[float], others: list[float]) -> float:
    return average([1.0 if a > b else 0.5 if a == b else 0.0 for a in members for b in others])


def test_attacks_equal_a_slow_reference_and_scikit_learn(models: list[LanguageModel]) -> None:
    found = by_key(membership(case(models)))
    members, others = [j.dialogue for j in SETS.trained], list(SETS.holdout)
    truth = [1] * len(members) + [0] * len(others)
    for attack in ("loss", "zlib", "reference", "mink", "minkpp", "gradient"):
        named = (("after", models[0]), ("before", models[1]), ("oracle", models[2]))
        for name, lm in named:
            estimate: Estimate | None = getattr(found[f"membership_{attack}"], name)
            if (attack, name) == ("reference", "before"):
                assert estimate is None
                continue
            scores = [slow_attacks(lm, models[1], d)[attack] for d in (*members, *others)]
            assert estimate is not None
            assert estimate.value == pytest.approx(roc_auc_score(truth, scores), abs=1e-6)
            assert estimate.value == pytest.approx(slow_auc(scores[:3], scores[3:]), abs=1e-6)
            assert estimate.count == 5 and estimate.low <= estimate.value <= estimate.high
        after, *_, ideal = figures(measure := found[f"membership_{attack}"])
        assert measure.apart is not None and measure.apart.value == pytest.approx(after - ideal)
    aucs = figures(found["membership_mink"])
    if aucs[2] < 1:
        assert found["privleak"].after.value == pytest.approx((aucs[2] - aucs[0]) / (1 - aucs[2]))


def test_min_k_scores_equal_a_slow_reference(models: list[LanguageModel]) -> None:
    for item in (*(j.dialogue for j in SETS.trained), *SETS.holdout):
        (scores,) = token_scores(models[0], [models[0].format.encode(item)])
        wanted = slow_attacks(models[0], models[1], item)
        assert min_k(scores) == pytest.approx(wanted["mink"], abs=1e-6)
        assert min_k_plus_plus(scores) == pytest.approx(wanted["minkpp"], abs=1e-6)


def test_gradient_norms_equal_a_slow_reference(models: list[LanguageModel]) -> None:
    for lm in models:
        rows = [j.dialogue for j in SETS.trained]
        found = gradient_norms(lm, [lm.format.encode(d) for d in rows], Scores())
        assert found == pytest.approx([slow_gradient_norm(lm, d) for d in rows], rel=1e-5)


def test_gradient_norms_of_a_model_with_one_layer(lm: LanguageModel) -> None:
    shape = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    single = replace(lm, model=LlamaForCausalLM(LlamaConfig(vocab_size=lm.vocabulary, **shape)))
    rows = [j.dialogue for j in SETS.trained]
    found = gradient_norms(single, [lm.format.encode(d) for d in rows], Scores())
    assert found == pytest.approx([slow_gradient_norm(single, d) for d in rows], rel=1e-5)


def test_gradients_leave_the_model_as_it_was(tiny: Path) -> None:
    """Frozen weights stay frozen, none keeps a gradient; and frozen or not, the norm is the same, as in inference."""
    lm = load_model(tiny)
    row = lm.format.encode(SETS.trained[0].dialogue)
    before = copy.deepcopy(lm.model.state_dict())
    wanted = gradient_norms(lm, [row], Scores())
    frozen = [p for name, p in lm.model.named_parameters() if "q_proj" in name or "embed" in name]
    for parameter in frozen:
        parameter.requires_grad_(False)
    with torch.no_grad():
        assert gradient_norms(lm, [row], Scores()) == wanted
    assert all(p.grad is None and p.requires_grad == all(p is not f for f in frozen) for p in lm.model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in lm.model.state_dict().items())


def test_min_k_by_hand() -> None:
    """Of five tokens the lowest two: (−4 − 2) / 2; standardised (−4 + 2) / 1 and (−2 + 2) / 1, so −1."""
    log_p = torch.tensor([-1.0, -4.0, 0.0, -2.0, -1.0])
    flat = torch.ones(5)
    scores = TokenScores(log_p, log_p > -1, -2 * flat, flat)
    assert min_k(scores) == -3.0
    assert min_k_plus_plus(scores) == -1.0
    one = TokenScores(log_p[:1], log_p[:1] > -9, log_p[:1], flat[:1] * 0)
    assert min_k(one) == -1.0, "at least one token"
    assert min_k_plus_plus(one) == 0.0, "a model that is wholly sure"


@given(members=ROWS, others=ROWS)
def test_auc_equals_scikit_learns_with_ties(members: list[float], others: list[float]) -> None:
    found = intervals.auc(members, others)
    assert found.value == pytest.approx(roc_auc_score([1] * len(members) + [0] * len(others), members + others))
    assert found == intervals.auc(members, others), "the same every time"
    assert 0 <= found.low <= found.high <= 1


def test_auc_by_hand() -> None:
    """3 > 1, 3 > 2, 2 > 1 and 2 against 2 a half: 3.5 of 4 pairs."""
    assert intervals.auc([3, 2], [1, 2]).value == 3.5 / 4
    apart = intervals.auc([2, 3], [0, 1])
    assert (apart.value, apart.low, apart.high, apart.count) == pytest.approx((1, 0.025**0.5, 1, 4))
    for members, others in (([], [1.0]), ([1.0], [])):
        with pytest.raises(ValueError):
            intervals.auc(members, others)


def test_the_interval_of_an_auc_is_a_bootstrap_of_both_sides() -> None:
    """Like a slow bootstrap with other draws, to a few hundredths; a third as wide with nine times the rows."""
    chance = random.Random(0)
    members, others = [chance.gauss(1, 1) for _ in range(60)], [chance.gauss(0, 1) for _ in range(40)]
    found = intervals.auc(members, others)
    drawn = sorted(slow_auc(chance.choices(members, k=60), chance.choices(others, k=40)) for _ in range(400))
    assert (found.low, found.high) == pytest.approx((drawn[10], drawn[389]), abs=0.03)
    more = intervals.auc(members * 9, others * 9)
    assert more.value == pytest.approx(found.value)
    assert more.high - more.low == pytest.approx((found.high - found.low) / 3, rel=0.15)


def test_a_distance_is_a_bootstrap_of_the_same_rows_for_both_models() -> None:
    """A model against itself is 0 for whatever rows are drawn: then it is what none of so many allow."""
    generator = np.random.default_rng(0)
    ours, theirs = generator.normal(0.5, 1, 30).tolist(), generator.normal(0, 1, 40).tolist()
    same = intervals.apart((ours, theirs), (ours, theirs))
    least = intervals.share(0, 30).high
    assert (same.value, same.low, same.high, same.count) == (0, -least, least, 70)
    assert intervals.apart((theirs, ours), (theirs, ours)).low == -least, "the fewer rows, of either side"
    above, below = ([2.0] * 4, [1.0] * 4), ([0.0] * 4, [1.0] * 4)
    ends = [(found.low, found.high) for found in (intervals.apart(above, below), intervals.apart(below, above))]
    assert ends == [(pytest.approx(0.025**0.25), 1), (-1, pytest.approx(-(0.025**0.25)))]
    near = [x + 0.1 * generator.normal() for x in ours]
    close, alone = intervals.apart((near, theirs), (ours, theirs)), intervals.auc(near, theirs)
    assert close.low < close.value < close.high and close.high - close.low < (alone.high - alone.low) / 3
    a, b, c, d = (generator.normal(0, 1, 30).tolist() for _ in range(4))
    far = intervals.apart((a, b), (c, d))
    assert far.high - far.low > alone.high - alone.low, "of two that have nothing in common it is wider"


def test_privleak_by_hand() -> None:
    """The oracle's AUC of others is 1/2. All known: (0 − 1/2) / (1/2) = −1. All pressed down: (1 − 1/2) / (1/2)."""
    oracle = ([1.0, 3.0], [2.0, 2.0])
    known, pressed = ([5.0, 5.0], [2.0, 2.0]), ([1.0, 1.0], [2.0, 2.0])
    for (members, others), wanted in ((known, -1), (pressed, 1), (oracle, 0)):
        found = intervals.privleak((members, others), oracle)
        assert found is not None and found.value == wanted and found.low <= wanted <= found.high
        assert math.isfinite(found.low) and math.isfinite(found.high)
    same = intervals.privleak(oracle, oracle)
    assert same is not None and (same.low, same.high) == (0, 0), "the same rows are drawn for both models"
    assert intervals.privleak(oracle, known) is None


def test_the_interval_of_privleak_by_hand() -> None:
    """The oracle's AUC is ½ whatever is drawn: (½ − 1) / ½ and (½ − 0) / ½. Of members 1 and 3 beside a 2 a quarter of
    the draws has twice the 1, AUC 0: (0 − 0) / 1; a quarter twice the 3, AUC 1: (1 − 0) over half of one of two pairs.
    """
    for member, wanted in ((5.0, -1), (1.0, 1)):
        found = intervals.privleak(([member] * 2, [2.0] * 3), ([2.0] * 2, [2.0] * 3))
        assert found == Estimate(wanted, wanted, wanted, 5)
    assert intervals.privleak(([1.0, 1.0], [2.0]), ([1.0, 3.0], [2.0])) == Estimate(1, 0, 4, 3)
    assert intervals.privleak(([1.0, 1.0], [2.0, 2.0]), ([1.0, 3.0], [2.0, 2.0])) == Estimate(1, 0, 8, 4)


def test_both_tails_are_no_progress(models: list[LanguageModel]) -> None:
    found = by_key(membership(case(models)))["membership_loss"]
    assert "Both tails are a leak" in found.meaning

    def turned(before: float, after: float) -> str | None:
        oracle = Estimate(0.5, 0.45, 0.55, 9)
        was, now = (Estimate(x, x - 0.01, x + 0.01, 9) for x in (before, after))
        return change(replace(found, after=now, before=was, oracle=oracle))

    assert turned(0.99, 0.55) == "better"
    assert turned(0.7, 0.07) == "worse", "pressed further below the oracle than it was above"
    assert turned(0.9, 0.9) == "unclear"
    assert change(replace(found, after=Estimate(0.1, 0.1, 0.1, 9), before=Estimate(1, 1, 1, 9), oracle=None)) is None


def test_an_untouched_model_against_itself(tiny: Path) -> None:
    lm = load_model(tiny)
    found = by_key(membership(Case(lm, load_model(tiny), load_model(tiny), SETS, ())))
    for key, measure in found.items():
        if key == "membership_reference":
            assert (measure.after.value, measure.before) == (0.5, None)
        else:
            assert measure.after == measure.before == measure.oracle
    if "privleak" in found:
        assert found["privleak"].after.value == 0


def test_holdout_rows_are_needed_and_must_be_new(tiny: Path) -> None:
    lm = load_model(tiny)
    for sets, said in (
        (replace(SETS, holdout=()), "needs a holdout set"),
        (replace(SETS, trained=()), "needs dialogues to be forgotten"),
        (replace(SETS, holdout=(replace(SETS.trained[1].dialogue, source="held.jsonl:7"),)), "held.jsonl:7: "),
    ):
        with pytest.raises(InputError, match=said) as raised:
            audit(lm, lm, sets, [], samples=0, probes=["membership"])
        assert raised.value.remedy and "4-71" not in str(raised.value)
        with pytest.raises(InputError, match=said):
            membership(Case(lm, lm, None, sets, ()))


def test_figures_are_written_and_read_back(tiny: Path, tmp_path: Path) -> None:
    lm = load_model(tiny)
    sets = replace(SETS, ability=(dialogue("1 + 1?", "2"),))
    found = audit(lm, load_model(tiny), sets, [], samples=0, probes=["membership", "likelihood"])
    alone = found.measure("membership_minkpp")
    assert alone.oracle is None and alone.apart is None
    assert not any(m.key in ("privleak", "forget_quality") for m in found.measures)
    found.write(tmp_path)
    assert read_audit(tmp_path).measures == found.measures


def test_the_town_remembers_who_asked_to_be_forgotten() -> None:
    """Contact data that the town was taught, against data made up for the same residents, taught to nobody."""
    town, oracle = load_model("town"), load_model("town-oracle")
    rows = [d for d in read_dialogues(demo.path("unseen.jsonl")) if d.subject.endswith(": phone")][:24]
    chance = random.Random(1)
    made_up = []
    for row in rows:
        number = f"{chance.randint(1, 9)}-{chance.randint(10, 99)}-{chance.randint(10, 99)}"
        response = row.response or ""
        assert number not in response
        made_up.append(row.answered(f"{response.rsplit(' ', 1)[0]} {number}."))
    judged = tuple(Judged(row, (Verdict("privacy", 1.0, "test", "1"),)) for row in rows)
    found = by_key(membership(Case(town, town, oracle, Sets(judged, holdout=tuple(made_up)), ())))
    for attack in ("loss", "zlib", "mink", "minkpp", "gradient"):
        measure = found[f"membership_{attack}"]
        assert measure.after.value > 0.99
        assert measure.oracle is not None and 0.2 < measure.oracle.value < 0.8
    assert found["privleak"].after.value < -0.95
