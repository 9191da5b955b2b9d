"""How far models are apart on ordinary dialogues, against arithmetic by hand and in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from expunge.audit.decision import claim_of
from expunge.audit.divergence import distances, divergence, kl, total_variation
from expunge.audit.result import Measure
from expunge.audit.scores import Scores
from expunge.dialogue import Dialogue
from expunge.message import Message
from expunge.model import LanguageModel, load_model
from expunge.report.wording import figure


def dialogue(question: str, *response: str) -> Dialogue:
    return Dialogue((Message("user", question), *(Message("assistant", text) for text in response)))


ORDINARY = [dialogue("What is 2 + 2?", "It is 4."), dialogue("Who is there?", "A neighbour of yours, from the mill.")]


def test_by_hand() -> None:
    """p = (1/2, 1/2), q = (1/4, 3/4): KL = ½ ln 2 + ½ ln ⅔, and ½ (¼ + ¼); a word that p never says adds nothing."""
    p, q = torch.tensor([0.5, 0.5]).log(), torch.tensor([0.25, 0.75]).log()
    assert float(kl(p, q)) == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))
    assert float(total_variation(p, q)) == pytest.approx(0.25)
    sure = torch.tensor([1.0, 0.0]).log()
    assert float(kl(sure, q)) == pytest.approx(math.log(4)) and float(kl(q, q)) == 0
    assert float(total_variation(sure, torch.tensor([0.0, 1.0]).log())) == 1


@pytest.fixture
def models(tiny: Path) -> dict[str, LanguageModel]:
    """The model after is surer of itself, the oracle less sure."""
    found = {name: load_model(tiny) for name in ("after", "before", "oracle")}
    found = {name: replace(lm, format=found["before"].format) for name, lm in found.items()}
    with torch.no_grad():
        for name, factor in (("after", 3.0), ("oracle", 0.5)):
            found[name].model.get_output_embeddings().weight.mul_(factor)
    return found


def exact(lm: LanguageModel, dialogue: Dialogue) -> tuple[torch.Tensor, torch.Tensor]:
    """log p of all words at each place of the response, and of the response's own: float64."""
    row = lm.format.encode(dialogue)
    with torch.no_grad():
        logits = lm.model(torch.tensor([row.prompt + row.response])).logits[0, len(row.prompt) - 1 : -1].double()
    whole = logits.log_softmax(-1)
    return whole, whole.gather(1, torch.tensor(row.response)[:, None])[:, 0]


def test_against_float64(models: dict[str, LanguageModel]) -> None:
    found = {m.key: m for m in divergence(models, ORDINARY, Scores())}
    p = {name: [exact(lm, d) for d in ORDINARY] for name, lm in models.items()}

    def average(distance: Callable[..., Any], a: str, b: str) -> float:
        rows = zip(p[a], p[b], strict=True)
        return sum(float(distance(x, y).mean()) for (x, _), (y, _) in rows) / len(ORDINARY)

    def loss(name: str) -> float:
        return -sum(float(own.mean()) for _, own in p[name]) / len(ORDINARY)

    changed, far, surprise = found["kl_original"], found["oracle_distance"], found["perplexity_ordinary"]
    assert changed.after.value == pytest.approx(average(kl, "before", "after"), abs=1e-5)
    assert changed.oracle and changed.oracle.value == pytest.approx(average(kl, "before", "oracle"), abs=1e-5)
    assert far.after.value == pytest.approx(average(total_variation, "after", "oracle"), abs=1e-6)
    assert far.before and far.before.value == pytest.approx(average(total_variation, "before", "oracle"), abs=1e-6)
    assert surprise.after.value == pytest.approx(math.exp(loss("after") - loss("before")), rel=1e-6)
    assert surprise.oracle and surprise.oracle.value == pytest.approx(
        math.exp(loss("oracle") - loss("before")), rel=1e-6
    )
    assert all(m.after.low <= m.after.value <= m.after.high for m in found.values())
    assert figure(changed.after.value, changed.unit).endswith(" nats")


def test_they_decide_no_claim(models: dict[str, LanguageModel]) -> None:
    assert [claim_of(m) for m in divergence(models, ORDINARY, Scores())] == [None] * 3


def keys(found: list[Measure]) -> list[str]:
    return [m.key for m in found]


def test_what_cannot_be_compared_is_left_out(models: dict[str, LanguageModel], tiny: Path) -> None:
    assert divergence(models, [], Scores()) == []
    pair = {name: models[name] for name in ("after", "before")}
    assert keys(divergence(pair, ORDINARY, Scores())) == ["perplexity_ordinary", "kl_original"]
    strange = {**models, "oracle": load_model(tiny)}  # of its own format
    assert keys(divergence(strange, ORDINARY, Scores())) == ["perplexity_ordinary", "kl_original"]
    strange = {**models, "after": load_model(tiny)}
    assert divergence(strange, ORDINARY, Scores()) == [], "nothing a token is comparable"
    models["after"].model.config.vocab_size += 1
    assert keys(divergence(models, ORDINARY, Scores())) == ["perplexity_ordinary"]


def test_dialogues_without_a_response_or_too_long_are_left_out(models: dict[str, LanguageModel]) -> None:
    rows = [*ORDINARY, dialogue("Well?"), dialogue("word " * 500, "Yes.")]
    assert divergence(models, rows, Scores()) == divergence(models, ORDINARY, Scores())


def test_each_model_reads_a_row_once(models: dict[str, LanguageModel]) -> None:
    read: list[int] = []
    for lm in models.values():
        lm.model.register_forward_pre_hook(lambda _, __, given: read.append(len(given["input_ids"])), with_kwargs=True)
    after, before, oracle = models.values()
    rows = [before.format.encode(d) for d in ORDINARY]
    distances([(kl, before, after), (kl, before, oracle), (total_variation, after, oracle)], rows)
    assert sum(read) == 3 * len(rows)
    assert distances([], rows) == []


def test_a_loss_beyond_what_exp_can_say_is_infinite(models: dict[str, LanguageModel]) -> None:
    """Above 709 nats there is no such float."""
    with torch.no_grad():
        models["after"].model.get_output_embeddings().weight.mul_(1e5)
    found = divergence(models, ORDINARY, Scores())[0]
    assert found.key == "perplexity_ordinary" and found.after.value == math.inf
    assert found.oracle and math.isfinite(found.oracle.value)
