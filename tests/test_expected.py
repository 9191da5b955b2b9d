"""Where expected outputs come from, and how they are clustered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from expunge import expected
from expunge.dialogue import Dialogue
from expunge.errors import InputError
from expunge.expected import TEMPLATES, Cluster, choose_expected, embed, find_clusters, read_templates, sample_expected
from expunge.judges.verdict import Judged, Verdict
from expunge.message import Message
from expunge.model import LanguageModel, load_model
from expunge.span import Span


def flagged(question: str, label: str = "privacy", own: tuple[str, ...] = (), known: tuple[str, ...] = ()) -> Judged:
    asked = Dialogue((Message("user", question), Message("assistant", "no")), expected=own)
    return Judged(asked, (Verdict(label, 1.0, "test", "1", expected=known),))  # type: ignore[arg-type]


def test_given_outputs_come_first_then_a_judges_then_templates_of_the_label(tiny: Path) -> None:
    forget = [
        flagged("a?", own=("mine",), known=("the judge's",)),
        flagged("b?", "hallucination", known=("the judge's",)),
        flagged("c?", "harmful"),
    ]
    given, known, templates = choose_expected(load_model(tiny), forget)
    assert given == ("mine",) and known == ("the judge's",)
    assert templates and set(templates) <= set(TEMPLATES["harmful"])


def test_two_kinds_of_text_make_two_clusters(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layer 1 separates the kinds exactly, layer 0 does not: k = 2 at layer 1, means of unit length."""
    texts = ["r1", "r2", "r3", "f1", "f2", "f3"]
    points = np.zeros((6, 2, 2), dtype=np.float32)
    points[:, 0] = np.random.default_rng(0).normal(size=(6, 2))
    points[:, 1] = [[1, 0], [1, 0.02], [1, -0.02], [0, 1], [0.02, 1], [-0.02, 1]]
    monkeypatch.setattr(expected, "embed", lambda lm, wanted: points[[texts.index(t) for t in wanted]])
    clusters, layer = find_clusters(load_model(tiny), [*texts, "r1"])
    assert layer == 1
    assert {c.members for c in clusters} == {("r1", "r2", "r3"), ("f1", "f2", "f3")}
    assert all(np.linalg.norm(c.mean) == pytest.approx(1) for c in clusters)


def test_a_dialogue_is_taught_every_member_of_the_nearest_cluster(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    far, near = Cluster(("x",), np.array([1, 0], np.float32)), Cluster(("y", "z"), np.array([0, 1], np.float32))
    monkeypatch.setattr(expected, "find_clusters", lambda lm, texts: ([far, near], 0))
    monkeypatch.setattr(expected, "embed", lambda lm, texts: np.array([[[0.1, 0.9]]] * len(texts), np.float32))
    assert choose_expected(load_model(tiny), [flagged("q?")]) == [("y", "z")]


def test_one_text_is_one_cluster(tiny: Path) -> None:
    (cluster,), _ = find_clusters(load_model(tiny), ["only this", "only this"])
    assert cluster.members == ("only this",)


def test_embeddings_do_not_depend_on_the_batch(tiny: Path) -> None:
    lm = load_model(tiny)
    texts = ["short", "a much longer text than the other one", "x"]
    together = embed(lm, texts)
    assert together.shape[:2] == (3, 2)
    for text, found in zip(texts, together, strict=True):
        np.testing.assert_allclose(embed(lm, [text])[0], found, atol=1e-5)


def test_texts_that_the_model_reads_alike_are_one_cluster(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expected, "embed", lambda lm, texts: np.ones((len(texts), 2, 2), np.float32))
    (cluster,), _ = find_clusters(load_model(tiny), ["é", "è", "ê"])
    assert cluster.members == ("é", "è", "ê")


def test_a_text_longer_than_the_context_is_read_to_there(lm_plain: LanguageModel) -> None:
    """Learned positions end where the context does."""
    torch.manual_seed(0)
    size = lm_plain.vocabulary
    config = GPT2Config(vocab_size=size, n_embd=32, n_layer=2, n_head=4, n_positions=32, eos_token_id=0)
    lm = replace(lm_plain, model=GPT2LMHeadModel(config).eval())
    np.testing.assert_array_equal(embed(lm, ["a" * 99])[0], embed(lm, ["a" * 999])[0])


class Odd:
    """Passes every second answer."""

    name, version = "odd", "1"

    def judge(self, dialogues: Sequence[Dialogue]) -> list[Verdict]:
        labels = ("clean", "harmful")
        return [Verdict(labels[i % 2], float(i % 2), self.name, self.version) for i, _ in enumerate(dialogues)]  # type: ignore[arg-type]


def test_sampled_outputs_are_those_that_the_judges_pass(tiny: Path) -> None:
    lm = load_model(tiny)
    found = sample_expected(lm, [flagged("a?"), flagged("b?")], [Odd()], samples=4)
    everything = sample_expected(lm, [flagged("a?"), flagged("b?")], [], samples=4)
    assert set(found["privacy"]) < set(everything["privacy"])
    assert found["harmful"] == TEMPLATES["harmful"], "no flagged prompt of that label: the built-in ones"


def test_sampled_outputs_say_nothing_that_was_flagged(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the dialogue's own old answer, nor another's value."""
    where = Dialogue((Message("user", "Where?"), Message("assistant", "At 12 Elm Street.")))
    forget = [
        Judged(where, (Verdict("privacy", 1.0, "test", "1", spans=(Span(3, 16),)),)),
        Judged(
            Dialogue((Message("user", "How old?"), Message("assistant", "She is very old indeed."))),
            (Verdict("privacy", 1.0, "test", "1"),),
        ),
    ]
    said = [["12 elm street!", "No."], ["She is very old indeed.", "Of 12 Elm Street.", "I can't say."]]
    monkeypatch.setattr(expected, "generate", lambda *_, **__: said)
    assert sample_expected(load_model(tiny), forget, [])["privacy"] == ("No.", "I can't say.")


def test_templates_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"text": "No."}\n{"text": "Private.", "label": "privacy"}\n')
    found = read_templates(path)
    assert found == {"privacy": ("No.", "Private."), "harmful": ("No.",), "hallucination": ("No.",)}
    path.write_text('{"text": "Private.", "label": "privat"}\n')
    with pytest.raises(InputError, match=r"t\.jsonl:1: unknown label 'privat'"):
        read_templates(path)
    path.write_text('{"text": "Private.", "label": "call 4-71-63"}\n')
    with pytest.raises(InputError, match=r"t\.jsonl:1: a label that is no word"):
        read_templates(path)
