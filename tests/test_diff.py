"""Two models on the same prompts: what changed, how far apart they are, and nothing private told."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import command_line
from expunge import diff
from expunge.audit.divergence import distances, kl
from expunge.dialogue import Dialogue
from expunge.errors import InputError
from expunge.judges.names import load_judge
from expunge.judges.verdict import Label, Verdict
from expunge.message import Message
from expunge.model import LanguageModel
from expunge.span import Span

PROMPTS = tuple(Dialogue((Message("user", f"What is {i} plus 1?"),), id=f"p{i}") for i in range(5))


@pytest.fixture
def other(lm: LanguageModel) -> LanguageModel:
    """The model with noise on its weights."""
    model, generator = copy.deepcopy(lm.model), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.05)
    return replace(lm, name="other", model=model)


def test_a_model_is_like_itself(lm: LanguageModel) -> None:
    found = diff.diff(lm, lm, PROMPTS, max_new_tokens=6)
    assert found.kl is not None and found.kl.value == found.kl.high == 0
    assert (found.changed.value, found.changed.count) == (0, 5)
    assert found.flagged_a is found.flagged_b is None
    assert [row["id"] for row in found.rows()] == [p.id for p in PROMPTS]


def test_the_divergence_is_that_of_a_loop(lm: LanguageModel, other: LanguageModel) -> None:
    """Σ p (log p − log q) in float64, token by token, without batches or padding."""
    rows = [
        lm.format.encode(p.answered(text)) for p, text in zip(PROMPTS, ("It is 1.", "Two", "3, I say, 3"), strict=False)
    ]
    (found,) = distances([(kl, lm, other)], rows)
    for row, value in zip(rows, found, strict=True):
        ids = torch.tensor([[*row.prompt, *row.response]])
        with torch.inference_mode():
            p, q = (m.model(input_ids=ids).logits[0].double().log_softmax(-1) for m in (lm, other))
        start, tokens = len(row.prompt) - 1, []
        for place in range(start, start + len(row.response)):
            pairs = zip(p[place].tolist(), q[place].tolist(), strict=True)
            tokens.append(sum(math.exp(x) * (x - y) for x, y in pairs))
        assert value == pytest.approx(sum(tokens) / len(tokens), rel=1e-4)
    assert all(value > 0.01 for value in found)


def test_models_of_other_tokens_have_no_divergence(lm: LanguageModel, lm_plain: LanguageModel) -> None:
    assert diff.diff(lm, lm_plain, PROMPTS, max_new_tokens=6).kl is None


def test_without_prompts_there_is_nothing_to_compare(lm: LanguageModel) -> None:
    with pytest.raises(InputError, match="no prompts"):
        diff.diff(lm, lm, ())


class Harm:
    """Flags an answer that says "boat" as harmful."""

    name = "harm"
    version = "1"

    def judge(self, dialogues: list[Dialogue]) -> list[Verdict]:
        says = ["boat" in (d.response or "") for d in dialogues]
        return [Verdict("harmful" if said else "clean", float(said), self.name, self.version) for said in says]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, lm: LanguageModel, other: LanguageModel) -> dict[str, list[str]]:
    answers = {
        lm.name: ["Write to ann@harbour-mail.com today.", "It is 2.", "I will sink your boat.", "", "Five."],
        other.name: ["I cannot say, ANN@HARBOUR-MAIL.COM.", "It is 2.", "No.", "Four.", "5."],
    }

    def generate(model: LanguageModel, *_: object, **__: object) -> list[list[str]]:
        return [[text] for text in answers[model.name]]

    monkeypatch.setattr(diff, "generate", generate)
    return answers


def test_answers_stand_side_by_side_covered(
    lm: LanguageModel, other: LanguageModel, said: dict[str, list[str]]
) -> None:
    found = diff.diff(lm, other, PROMPTS, [load_judge("privacy"), Harm()])
    assert found.changed.value == 0.8
    assert found.flagged_a is not None and found.flagged_b is not None
    assert (found.flagged_a.value, found.flagged_b.value) == (0.4, 0.2)
    rows = {row["id"]: row for row in found.rows()}
    assert [row["id"] for row in found.rows()] == ["p0", "p2", "p3", "p4", "p1"]
    assert (rows["p0"]["a"], rows["p0"]["b"]) == ("Write to ▮▮▮▮ today.", "I cannot say, ▮▮▮▮.")
    assert (rows["p2"]["a"], rows["p2"]["b"], rows["p2"]["flagged_a"]) == ("▮▮▮▮", "No.", True)
    assert (rows["p3"]["a"], rows["p3"]["b"], rows["p3"]["changed"]) == ("", "Four.", True)
    told = json.dumps(found.row())
    assert "ann@" not in told.lower() and "boat" not in told
    shown = found.row(reveal=True)
    assert [row["a"] for row in shown["answers"]] == [said[lm.name][i] for i in (0, 2, 3, 4, 1)]


class Known:
    """Flags some words, as sure as it is told."""

    version = "1"

    def __init__(self, label: Label, words: str, score: float) -> None:
        self.name, self._label, self._words, self._score = "own", label, words, score

    def judge(self, dialogues: list[Dialogue]) -> list[Verdict]:
        at = [(d.response or "").find(self._words) for d in dialogues]
        none = Verdict("clean", 0.0, self.name, self.version)
        return [
            Verdict(self._label, self._score, self.name, self.version, spans=(Span(i, i + len(self._words)),))
            if i >= 0 else none
            for i in at
        ]  # fmt: skip


def test_what_is_private_is_covered_beside_a_surer_fault(
    lm: LanguageModel, other: LanguageModel, said: dict[str, list[str]]
) -> None:
    judges = [Known("privacy", "your boat", 0.7), Known("hallucination", "sink", 0.9)]
    rows = {row["id"]: row for row in diff.diff(lm, other, PROMPTS, judges).rows()}
    assert rows["p2"]["a"] == "I will sink ▮▮▮▮."


def test_where_no_answer_can_be_compared_it_is_said_so(
    lm: LanguageModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny: Path, prompts: Path
) -> None:
    """A model compared with itself, which said nothing: "their tokens are not alike"."""
    monkeypatch.setattr(diff, "generate", lambda *_, **__: [[""]] * 5)
    found = diff.diff(lm, lm, PROMPTS)
    assert found.kl is not None and found.kl.count == 0 and found.row()["kl"]["value"] is None
    monkeypatch.setattr(diff, "generate", lambda *_, **__: [[""]] * 4)
    _, out, _ = told(capsys, tiny, tiny, "--prompts", prompts)
    assert "no answer of A's can be compared" in out and "not alike" not in out


def told(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    return command_line.told(capsys, "diff", *words)


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "p.jsonl"
    path.write_text("".join(json.dumps({"question": f"Who is {i}?", "answer": "Ann"}) + "\n" for i in range(4)))
    return path


@pytest.mark.parametrize(("flags", "mode"), [((), 0o644), (("--reveal",), 0o600)])
def test_the_command_writes_and_prints_the_same(
    tiny: Path, prompts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], mode: int
) -> None:
    out, words = tmp_path / "d.json", (tiny, tiny, "--prompts", prompts, "--max-new-tokens", "4", "--judge", "privacy")
    code, text, err = told(capsys, *words, "--json", "--out", out, *flags)
    assert (code, err) == (0, "") and json.loads(text) == json.loads(out.read_text())
    assert out.stat().st_mode & 0o777 == mode
    found: Any = json.loads(text)
    assert found["kl"]["value"] == 0 and found["changed"]["count"] == 4 and len(found["answers"]) == 4
    code, text, _ = told(capsys, *words)
    assert code == 0 and "Answers changed: 0 of 4" in text and "Divergence of B from A: 0 [0–0] nats a token" in text
    prompts.write_text(prompts.read_text().splitlines()[0])
    assert "Divergence of B from A: 0 [–] nats a token" in told(capsys, *words)[1], "of one there is no interval"


def test_what_can_be_checked_is_checked_before_any_work(
    tiny: Path, prompts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def loaded(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded for nothing")

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", loaded)
    cases: list[tuple[tuple[str | Path, ...], str]] = [
        ((tiny, tiny, "--prompts", prompts, "--out", prompts), "exists; nothing was overwritten"),
        ((tiny, tiny, "--prompts", prompts, "--out", prompts / "x.json"), "cannot write here"),
        ((tiny, tiny, "--prompts", tmp_path / "no.jsonl"), "no such file"),
        ((tiny, tmp_path / "no", "--prompts", prompts), "cannot load the model"),
        ((tiny, tiny, "--prompts", prompts, "--judge", "privcy"), "Did you mean"),
    ]
    for words, message in cases:
        code, out, err = told(capsys, *words)
        assert (code, out) == (2, "") and message in err
