from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_classifier import WORDS, build

from expunge.dialogue import Dialogue
from expunge.errors import InputError
from expunge.judges import Judge, load_judge
from expunge.judges.entailment import EntailmentJudge, EntailmentModel, Relation
from expunge.judges.statements import read_statements
from expunge.judges.windows import windows

Ask = Callable[..., Dialogue]
REFERENCES = """{"question": ["what is red?", "red what?"], "answer": "stone"}
{"question": "what is red?", "answer": "river"}
{"statement": "the mill makes bread"}
{"statement": "a knife is green"}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nli"), ["CONTRADICTION", "Entailment", "neutral"])


@pytest.fixture
def references(tmp_path: Path) -> Path:
    path = tmp_path / "known.jsonl"
    path.write_text(REFERENCES)
    return path


@pytest.fixture
def judge(folder: Path, references: Path) -> EntailmentJudge:
    return EntailmentJudge(folder, references=references, device="cpu")


def test_the_probabilities_are_the_models_own(folder: Path) -> None:
    import torch

    model = EntailmentModel(folder, "cpu")
    pairs = [(" ".join(WORDS[: i + 1]), " ".join(WORDS[i::-1])) for i in range(8)]
    for (premise, hypothesis), relation in zip(pairs, model.relations(pairs), strict=True):
        with torch.inference_mode():
            logits = model._model(**model._tokenizer(premise, hypothesis, return_tensors="pt")).logits
        contradicted, entailed, _ = logits.softmax(-1)[0].tolist()
        assert (relation.entailed, relation.contradicted) == pytest.approx((entailed, contradicted), abs=1e-5)


@pytest.mark.parametrize(
    ("relations", "label", "score"),
    [
        ([(0.1, 0.8)], "hallucination", 0.8),
        ([(0.9, 0.05)], "clean", 0.05),
        ([(0.1, 0.8), (0.9, 0.02)], "clean", 0.02),  # one of several right answers is enough
        ([(0.2, 0.3), (0.1, 0.1)], "unknown", 0.0),
        ([(0.1, 0.4), (0.05, 0.6)], "hallucination", 0.6),
    ],
)
def test_what_the_relations_make(judge: EntailmentJudge, relations: Any, label: str, score: float) -> None:
    verdict = judge._verdict([Relation(*pair) for pair in relations])
    assert (verdict.label, verdict.score) == (label, score)


def test_whole_dialogues(judge: EntailmentJudge, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def relations(pairs: list[tuple[str, str]]) -> list[Relation]:
        asked.extend(pairs)
        return [Relation(0.05, 0.9)] * len(pairs)

    monkeypatch.setattr(judge._model, "relations", relations)
    dialogues = [
        ask("What is red?", "bread"), ask("smoke?", "poison"), ask("what is red?", " "),
        ask("red what?", "I don't know."),
        ask("who makes bread?", "the blue mill makes it"),
    ]  # fmt: skip
    verdicts = judge.judge(dialogues)
    assert [v.label for v in verdicts] == ["hallucination", "unknown", "unknown", "clean", "hallucination"]
    assert verdicts[1].reason == "no reference for this dialogue"
    assert asked == [
        ("what is red? stone", "bread"),
        ("what is red? river", "bread"),
        ("the mill makes bread", "the blue mill makes it"),
    ]


def test_a_long_response_is_read_in_windows(judge: EntailmentJudge, ask: Ask) -> None:
    long = " ".join(WORDS[i * i % 10] for i in range(120))
    pieces = list(windows(long, judge._model.fits))
    assert len(pieces) > 5 and all(judge._model.fits(piece) for piece in pieces)
    assert judge.judge([ask("red what?", long)])[0].label in ("hallucination", "clean", "unknown")


@pytest.mark.parametrize("labels", [["entailment", "not_entailment"], ["LABEL_0", "LABEL_1", "LABEL_2"]])
def test_other_labels_are_refused(tmp_path: Path, references: Path, labels: list[str]) -> None:
    with pytest.raises(InputError, match="the labels of"):
        EntailmentJudge(build(tmp_path / "model", labels), references=references)


def test_in_a_judge_file(folder: Path, references: Path, ask: Ask) -> None:
    from expunge.judges.judge_file import judge_sources

    file = references.parent / "judges.toml"
    file.write_text(f'[[judge]]\nuse = "entailment={folder}"\nreferences = "known.jsonl"\nthreshold = 0.9\n')
    judge = load_judge(str(file))
    assert isinstance(judge, Judge) and judge.name == "entailment"
    assert str(references.resolve()) in judge_sources(str(file))
    with pytest.raises(InputError, match="no references"):
        load_judge(f"entailment={folder}")


@pytest.mark.parametrize("row", ['{"statement": " "}', '{"question": "a"}', '{"answer": ["b"]}', '{"statement": 3}'])
def test_bad_references(tmp_path: Path, row: str) -> None:
    (tmp_path / "known.jsonl").write_text('{"statement": "a b"}\n' + row)
    with pytest.raises(InputError, match=r"known.jsonl:2: no statement"):
        read_statements(tmp_path / "known.jsonl")
