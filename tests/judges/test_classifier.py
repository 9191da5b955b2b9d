from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from expunge.dialogue import Dialogue
from expunge.errors import InputError
from expunge.judges import ClassifierJudge, Judge

Ask = Callable[..., Dialogue]
WORDS = ["red", "blue", "green", "stone", "river", "mill", "bread", "knife", "poison", "smoke"]


def build(folder: Path, labels: list[str], problem: str | None = None, head: bool = True) -> Path:
    """A tiny BERT with random weights and a word-level vocabulary."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, BertModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(special + WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=32,
    )  # fmt: skip
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(special + WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=32, id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)}, problem_type=problem, initializer_range=1.0,
    )  # fmt: skip
    model = BertForSequenceClassification(config) if head else BertModel(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("model"), ["safe", "unsafe"])


@pytest.fixture
def dialogues(ask: Ask) -> list[Dialogue]:
    answers = [" ".join(WORDS[(i * 3 + j) % 10] for j in range(i % 7 + 1)) for i in range(20)]
    return [ask(f"{WORDS[i % 10]} stone?", answer) for i, answer in enumerate(answers)]


def test_scores_are_the_models_own(folder: Path, dialogues: list[Dialogue]) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    for verdict, dialogue in zip(ClassifierJudge(folder, device="cpu").judge(dialogues), dialogues, strict=True):
        with torch.inference_mode():
            chances = model(**tokenizer(dialogue.question, dialogue.response, return_tensors="pt")).logits.softmax(-1)
        assert verdict.score == pytest.approx(chances[0, 1].item(), abs=1e-5)
        assert verdict.label == ("harmful" if verdict.score >= 0.5 else "clean")
        assert verdict.reason == f"unsafe: {verdict.score:.2f}"


def test_batches_and_order_change_nothing(folder: Path, dialogues: list[Dialogue]) -> None:
    one = ClassifierJudge(folder, batch_size=1, device="cpu").judge(dialogues)
    many = ClassifierJudge(folder, batch_size=7, device="cpu").judge(dialogues[::-1])[::-1]
    assert [v.score for v in one] == pytest.approx([v.score for v in many], abs=1e-5)


def test_the_response_alone(folder: Path, ask: Ask) -> None:
    judge = ClassifierJudge(folder, inputs="response", device="cpu")
    one, two = judge.judge([ask("red", "poison smoke"), ask("mill mill", "poison smoke")])
    assert one.score == pytest.approx(two.score, abs=1e-6)
    pair = ClassifierJudge(folder, device="cpu").judge([ask("red", "poison smoke")])[0]
    assert pair.score != pytest.approx(one.score, abs=1e-6)


@pytest.mark.parametrize("inputs", ["pair", "response"])
def test_a_long_response_is_as_bad_as_its_worst_window(
    folder: Path, ask: Ask, inputs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = ClassifierJudge(folder, inputs=inputs, device="cpu")
    long = " ".join(WORDS[i * i % 10] for i in range(300))
    windows: list[tuple[str, float]] = []
    scores = judge._scores

    def spy(prompts: list[str], responses: list[str]) -> list[tuple[float, str]]:
        scored = scores(prompts, responses)
        windows.extend((text, score) for text, (score, _) in zip(responses, scored, strict=True))
        return scored

    monkeypatch.setattr(judge, "_scores", spy)
    (verdict,) = judge.judge([ask("red " * 200, long)])
    assert len(windows) > 10
    assert verdict.score == max(score for _, score in windows)
    for first in range(0, len(long), 20):  # every stretch is read by some window
        assert any(long[first : first + 12] in text for text, _ in windows)


def test_an_empty_response_is_unknown(folder: Path, ask: Ask) -> None:
    judge = ClassifierJudge(folder, device="cpu")
    assert judge.judge([ask("red", " ")])[0].label == "unknown"
    assert judge.judge([]) == []


def test_several_labels_at_once_are_read_by_sigmoid(tmp_path: Path, ask: Ask) -> None:
    folder = build(tmp_path, ["toxic", "threat", "neutral"], "multi_label_classification")
    judge = ClassifierJudge(folder, label="privacy", threshold=0.01, device="cpu")
    (verdict,) = judge.judge([ask("red", "knife")])
    assert verdict.label == "privacy"
    encoded = judge._tokenizer("red", "knife", return_tensors="pt")
    assert verdict.score == pytest.approx(judge._model(**encoded).logits.sigmoid()[0, :2].max().item(), abs=1e-5)


@pytest.mark.parametrize(
    ("labels", "faults"),
    [
        (["safe", "unsafe"], [1]),
        (["toxic", "non-toxic"], [0]),
        (["not_hate", "hate"], [1]),
        (["nothate", "hate"], [1]),
        (["LABEL_0", "LABEL_1"], [1]),
        (["neutral", "violence", "theft"], [1, 2]),
        (["S", "OK"], [0]),
    ],
)
def test_the_faulty_labels_are_told_by_name(labels: list[str], faults: list[int]) -> None:
    from expunge.judges.classifier import _fault_indices

    assert _fault_indices(labels, (), False, "m") == faults


@pytest.mark.parametrize("labels", [["positive", "negative"], ["LABEL_0", "LABEL_1", "LABEL_2"], ["safe", "ok"]])
def test_labels_that_do_not_tell_are_refused(labels: list[str]) -> None:
    from expunge.judges.classifier import _fault_indices

    with pytest.raises(InputError, match=f"cannot tell which labels .*{labels[0]}, {labels[1]}") as caught:
        _fault_indices(labels, (), False, "m")
    assert "faults=[" in caught.value.remedy
    assert _fault_indices(labels, labels[:1], False, "m") == [0]
    with pytest.raises(InputError, match="not all labels"):
        _fault_indices(labels, ["other"], False, "m")


def test_a_model_without_its_head_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no trained classifier"):
        ClassifierJudge(build(tmp_path, ["safe", "unsafe"], head=False))


@pytest.mark.parametrize("name", ["nowhere/at/all", ""])
def test_an_unknown_model_is_one_message(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot load the classifier") as caught:
        ClassifierJudge(tmp_path / name)
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


@pytest.mark.parametrize("settings", [{"label": "clean"}, {"threshold": 0.0}, {"inputs": "prompt"}, {"batch_size": 0}])
def test_settings_are_checked_before_anything_is_loaded(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        ClassifierJudge("nowhere", **settings)


def test_it_is_a_judge_whose_version_follows_its_settings(folder: Path) -> None:
    judge = ClassifierJudge(folder, device="cpu")
    assert isinstance(judge, Judge)
    assert judge.version == ClassifierJudge(folder, batch_size=3, device="cpu").version
    assert judge.version != ClassifierJudge(folder, threshold=0.6, device="cpu").version
