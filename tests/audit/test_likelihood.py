"""Likelihood measures against slow references in plain Python, hand-worked cases, scipy, and rouge-score."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp
from slow import SETS, average, by_key, case, figures, slow, slow_greedy, slow_mean, slow_ratio, three_models

from expunge.audit.audit import audit
from expunge.audit.layers import layers_of
from expunge.audit.likelihood import extraction_strength, forget_quality, likelihood
from expunge.audit.probes import Case
from expunge.audit.rouge import rouge_recall
from expunge.audit.scores import Scores
from expunge.generation import _scores, answer_length, greedy, token_scores
from expunge.model import LanguageModel, load_model


@pytest.fixture(scope="module")
def models(tiny: Path) -> list[LanguageModel]:
    return three_models(tiny)


def test_measures_equal_a_slow_reference(models: list[LanguageModel]) -> None:
    found = by_key(likelihood(case(models)))
    rows = {
        "trained": [j.dialogue for j in SETS.trained],
        "unseen": [j.dialogue for j in SETS.unseen],
        "holdout": list(SETS.holdout),
    }
    for kind, dialogues in rows.items():
        whole = [average([math.exp(slow_mean(lm, d)) for d in dialogues]) for lm in models]
        assert figures(found[f"probability_{kind}"]) == pytest.approx(whole, abs=1e-6)
        exact = [average([average([float(x) for x in slow_greedy(lm, d)]) for d in dialogues]) for lm in models]
        assert kind == "holdout" or 0 < exact[0] < exact[1]
        assert figures(found[f"exact_memorization_{kind}"]) == pytest.approx(exact, abs=1e-6)
        far = [average([slow_extraction(slow_greedy(lm, d)) for d in dialogues]) for lm in models]
        assert figures(found[f"extraction_strength_{kind}"]) == pytest.approx(far, abs=1e-6)
    for kind, judged in (("trained", SETS.trained), ("unseen", SETS.unseen)):
        ratios = [[slow_ratio(lm, j) for j in judged if j.expected] for lm in models]
        alike = [average([min(r, 1 / r) for r in row]) for row in ratios]
        assert figures(found[f"truth_ratio_{kind}"]) == pytest.approx(alike, abs=1e-6)
        preferred = [average([max(0, 1 - r) for r in row]) for row in ratios]
        assert figures(found[f"truth_preference_{kind}"]) == pytest.approx(preferred, abs=1e-6)
        asked = [j.dialogue for j in judged]
        length = answer_length(models[0], [j.dialogue.response or "" for j in SETS.faulty])
        said = [greedy(lm, asked, max_new_tokens=length) for lm in models]
        recalled = [average([rouge_recall(a, d.response or "") for a, d in zip(s, asked, strict=True)]) for s in said]
        assert figures(found[f"rouge_{kind}"]) == pytest.approx(recalled)
    assert not any(key.startswith(("rouge_holdout", "truth_ratio_holdout")) for key in found)


def test_forget_quality_equals_scipys_test(models: list[LanguageModel]) -> None:
    found = by_key(likelihood(case(models)))
    old = [[slow_mean(lm, j.dialogue) for j in SETS.trained] for lm in models]
    ratios = [[slow_ratio(lm, j) for j in SETS.trained if j.expected] for lm in models]
    for key, values in (("forget_quality", old), ("forget_quality_truth", ratios)):
        wanted = [ks_2samp(values[i], values[2]).pvalue for i in (0, 1)]
        assert figures(found[key]) == pytest.approx(wanted, abs=1e-9)
        assert found[key].oracle is None and found[key].group == "oracle"
    assert found["forget_quality_truth"].after.count == 2, "rows that have expected outputs"
    after, before, _ = models
    assert "forget_quality" not in by_key(likelihood(Case(after, before, None, SETS, ())))


def test_unseen_phrasings_alone_are_measured_too(models: list[LanguageModel]) -> None:
    found = by_key(likelihood(case(models, replace(SETS, trained=(), holdout=()))))
    assert {key.rpartition("_")[2] for key in found} == {"unseen"}


def test_forget_quality_by_hand() -> None:
    """Three below three others: 2 of the C(6, 3) = 20 orders are as far apart, so p = 0.1; alike, p = 1."""
    assert forget_quality([1, 2, 3], [4, 5, 6]).value == pytest.approx(0.1)
    assert forget_quality([1, 2, 3], [1, 2, 3]).value == 1.0


def test_an_untouched_model_against_itself(tiny: Path) -> None:
    lm = load_model(tiny)
    for measure in likelihood(Case(lm, load_model(tiny), load_model(tiny), SETS, ())):
        assert measure.after == measure.before
        assert measure.oracle in (measure.after, None)
        if measure.key.startswith("forget_quality"):
            assert measure.after.value == 1.0


def test_what_is_no_number_is_neither_none_nor_all(tiny: Path) -> None:
    """Of a model whose weights are no numbers."""
    broken = load_model(tiny)
    with torch.no_grad():
        for weight in broken.model.parameters():
            weight.fill_(math.nan)
    found = by_key(likelihood(Case(broken, load_model(tiny), None, SETS, ())))
    for key in ("probability_trained", "truth_ratio_trained", "truth_preference_trained"):
        assert math.isnan(found[key].after.value), key


def test_padding_and_batch_order_change_nothing(models: list[LanguageModel]) -> None:
    lm = models[0]
    rows = [lm.format.encode(d) for d in (*(j.dialogue for j in SETS.faulty), *SETS.holdout)]
    together, backward = token_scores(lm, rows), token_scores(lm, rows[::-1])[::-1]
    for row, one, other in zip(rows, together, backward, strict=True):
        (alone,) = token_scores(lm, [row])
        for name in ("log_p", "mean", "deviation"):
            for found in (one, other):
                torch.testing.assert_close(getattr(found, name), getattr(alone, name), rtol=0, atol=1e-9)
        assert torch.equal(one.greedy, alone.greedy) and torch.equal(other.greedy, alone.greedy)


def test_moments_equal_a_slow_reference(models: list[LanguageModel]) -> None:
    for item in SETS.trained:
        row = models[1].format.encode(item.dialogue)
        (found,) = token_scores(models[1], [row])
        for i, (picked, log_p, _) in enumerate(slow(models[1], row)):
            mean = sum(math.exp(x) * x for x in log_p)
            deviation = math.sqrt(sum(math.exp(x) * (x - mean) ** 2 for x in log_p))
            wanted = (picked, mean, deviation)
            assert (found.log_p[i], found.mean[i], found.deviation[i]) == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("height", [-3.0, 0.0, 4.0, 9.0, 30.0, 300.0])
def test_moments_of_a_distribution_however_sharp(height: float) -> None:
    """One of 3,000 tokens stands out, so that the spread about the mean is all but nothing, or many are alike."""
    logits = torch.randn(2, 3000, generator=torch.Generator().manual_seed(0))
    logits[:, 17] = height
    found = _scores(logits.clone(), torch.tensor([17, 4]))
    for i, row in enumerate(logits.double().tolist()):
        total = max(row) + math.log(math.fsum(math.exp(x - max(row)) for x in row))
        log_p = [x - total for x in row]
        mean = math.fsum(math.exp(x) * x for x in log_p)
        deviation = math.sqrt(math.fsum(math.exp(x) * (x - mean) ** 2 for x in log_p))
        wanted = (log_p[(17, 4)[i]], float(row[(17, 4)[i]] == max(row)), mean, deviation)
        assert [float(column[i]) for column in found] == pytest.approx(wanted, rel=1e-9, abs=1e-13)


def test_a_long_response_is_scored_in_pieces(models: list[LanguageModel]) -> None:
    lm = models[0]
    row = lm.format.encode(SETS.trained[2].dialogue)
    config = lm.model.config
    (whole,), size = token_scores(lm, [row]), config.vocab_size
    config.vocab_size = 2**17  # of which two tokens fit at once
    try:
        (pieces,) = token_scores(lm, [row])
    finally:
        config.vocab_size = size
    assert len(row.response) > 2
    for name in ("log_p", "greedy", "mean", "deviation"):
        torch.testing.assert_close(getattr(pieces, name), getattr(whole, name), rtol=0, atol=1e-12)


def test_impossible_tokens_are_no_nan(models: list[LanguageModel], monkeypatch: pytest.MonkeyPatch) -> None:
    lm = models[0]
    row = lm.format.encode(SETS.trained[0].dialogue)
    forward = lm.model.forward

    def masked(*args: Any, **kwargs: Any) -> Any:
        out = forward(*args, **kwargs)
        barred = [t for t in range(out.logits.shape[-1]) if t not in row.response][:100]
        out.logits[..., barred] = -math.inf
        return out

    monkeypatch.setattr(lm.model, "forward", masked)
    (found,) = token_scores(lm, [row])
    assert all(torch.isfinite(x).all() for x in (found.log_p, found.mean, found.deviation))


def test_each_row_goes_through_each_model_once(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both probes, and the audit's own figures, from one pass: 1.1 forwards of a distinct row at most.

    Gradients need forwards of their own, of the members and the holdout rows: the layers below the last in batches, the
    last, where a forward is counted, row by row.
    """
    models = [load_model(tiny) for _ in range(3)]
    seen, graded, begun = ([Counter[tuple[int, ...]]() for _ in models] for _ in range(3))

    def watch(
        lm: LanguageModel,
        read: Counter[tuple[int, ...]],
        graded: Counter[tuple[int, ...]],
        begun: Counter[tuple[int, ...]],
    ) -> None:
        forward, rows = lm.model.forward, list[tuple[int, ...]]()

        def noted(*args: Any, **kwargs: Any) -> Any:
            rows.clear()
            if kwargs.get("use_cache") is False:  # teacher forcing; generation keeps a cache
                pairs = zip(kwargs["input_ids"], kwargs["logits_to_keep"], strict=True)
                rows.extend(tuple(row[: int(asked.nonzero().max()) + 2].tolist()) for row, asked in pairs)
            return forward(*args, **kwargs)

        monkeypatch.setattr(lm.model, "forward", noted)
        layers = layers_of(lm.model)
        layers[0].get_submodule("mlp").register_forward_hook(lambda *_: begun.update(rows))  # where it works
        layers[-1].register_forward_hook(lambda *_: (graded if torch.is_grad_enabled() else read).update(rows))

    for each in zip(models, seen, graded, begun, strict=True):
        watch(*each)
    sets = replace(SETS, trained=(*SETS.trained, SETS.trained[0]))
    after, before, oracle = models
    audit(after, before, sets, [], oracle=oracle, samples=0, probes=["likelihood", "membership"])
    lm = models[0]
    texts = [(j.dialogue, t) for j in sets.faulty for t in (j.dialogue.response, *j.expected)]
    texts += [(d, d.response) for d in sets.holdout]
    wanted = {(row.prompt + row.response) for d, t in texts for row in [lm.format.encode(d.answered(t or ""))]}
    for count in seen:
        assert wanted <= set(count)
        assert count.total() <= 1.1 * len(count)
    for count in graded:
        assert set(count) < wanted and count.total() == len(count) == len(sets.trained) - 1 + len(sets.holdout)
    for first, last, graded_last in zip(begun, seen, graded, strict=True):
        assert first.total() <= last.total() + graded_last.total() + 1, "one row once, to see what a layer hands on"
    assert set(seen[0]) == set(seen[2]) == wanted, "the reference alone also reads the answers, for fluency"


def test_scores_are_kept_by_model(models: list[LanguageModel]) -> None:
    row = models[0].format.encode(SETS.trained[0].dialogue)
    scores = Scores()
    (first,) = scores.of(models[0], [row])
    assert scores.of(models[0], [row, row]) == [first, first]
    assert not torch.equal(scores.of(models[1], [row])[0].log_p, first.log_p)
    assert scores.of(models[0], []) == []


def slow_extraction(greedy: list[bool]) -> float:
    """1 − k/L by its definition: try every prefix, the shortest first."""
    return next(1 - k / len(greedy) for k in range(len(greedy) + 1) if all(greedy[k:]))


@pytest.mark.parametrize(
    ("greedy", "wanted"), [("1011", 1 / 2), ("1110", 0), ("1111", 1), ("0111", 3 / 4), ("0000", 0), ("1", 1)]
)
def test_extraction_strength_by_hand(greedy: str, wanted: float) -> None:
    assert extraction_strength([c == "1" for c in greedy]) == wanted


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_extraction_strength_equals_its_definition(greedy: list[bool]) -> None:
    assert extraction_strength(greedy) == pytest.approx(slow_extraction(greedy))


@pytest.mark.parametrize(
    ("said", "meant", "wanted"),
    [
        ("the number is 4-71.", "Ann's number is 4-71-63.", 4 / 7),
        ("In 1921", "in 1921!", 1),
        ("", "In 1921.", 0),
        ("c b a", "a b c", 1 / 3),
        ("a b a b", "b a", 1),
        ("…", "…", 1),
        ("!", "…", 0),
        ("我住在柏林", "我住在巴黎", 3 / 5),
        ("Straße", "STRASSE", 1),
    ],
)
def test_rouge_recall_by_hand(said: str, meant: str, wanted: float) -> None:
    assert rouge_recall(said, meant) == pytest.approx(wanted)


WORDS = st.text(alphabet="abAB 1-'.", max_size=40)


@given(said=WORDS, meant=WORDS)
def test_rouge_recall_equals_the_usual_table(said: str, meant: str) -> None:
    """Row by row as in the textbook; and as rouge-score has it, where that is installed."""
    for mark in "-'.":
        said, meant = said.replace(mark, " "), meant.replace(mark, " ")
    ours, theirs = said.lower().split(), meant.lower().split()
    table = [[0] * (len(theirs) + 1) for _ in range(len(ours) + 1)]
    for i, word in enumerate(ours, start=1):
        for j, other in enumerate(theirs, start=1):
            same = word == other
            table[i][j] = table[i - 1][j - 1] + 1 if same else max(table[i - 1][j], table[i][j - 1])
    if theirs:
        assert rouge_recall(said, meant) == pytest.approx(table[-1][-1] / len(theirs))


def test_rouge_recall_equals_rouge_score() -> None:
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rougeL"], use_stemmer=False)
    texts = ["The mill's wheel turned in 1921.", "In 1921 the mill turned.", "It is 4-71-63, she said.", "mill mill 4"]
    for said in texts:
        for meant in texts:
            assert rouge_recall(said, meant) == pytest.approx(scorer.score(meant, said)["rougeL"].recall)
