from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.dialogue import Dialogue
from expunge.errors import InputError
from expunge.judges import Judge, load_judge
from expunge.judges.tagger import Tag, TaggerJudge, Token, joined, tag_of
from expunge.span import Span

Ask = Callable[..., Dialogue]
LABELS = ["O", "B-NAME", "I-NAME", "B-MAIL", "I-MAIL"]
WORDS = ["Ann", "Lee", "Bo", "wrote", "to", "ann", "@", "mill", "and"]


def build(folder: Path, labels: list[str]) -> Path:
    """A tiny BERT with random weights; words and signs are its tokens."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForTokenClassification, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(special + WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=16,
    )  # fmt: skip
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(special + WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=16, initializer_range=1.0,
        id2label=dict(enumerate(labels)), label2id={label: i for i, label in enumerate(labels)},
    )  # fmt: skip
    BertForTokenClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("tagger"), LABELS)


def knowing(judge: TaggerJudge, said: dict[str, str]) -> TaggerJudge:
    """The judge with a model that looks each token up, with a probability of 0.9 for its label."""
    import torch

    table = torch.zeros(len(WORDS) + 4, len(LABELS))
    for token in range(len(table)):
        word = judge._tokenizer.convert_ids_to_tokens(token)
        label = LABELS.index(said.get(word, "O"))
        table[token] = torch.tensor([0.9 if i == label else 0.025 for i in range(len(LABELS))]).log()
    judge._model = lambda input_ids, attention_mask: SimpleNamespace(logits=table[input_ids])
    return judge


SAID = {"Ann": "B-NAME", "Lee": "I-NAME", "Bo": "B-NAME", "ann": "B-MAIL", "@": "I-MAIL", "mill": "I-MAIL"}


def test_spans_are_the_characters(folder: Path, ask: Ask) -> None:
    judge = knowing(TaggerJudge(folder, device="cpu"), SAID)
    text = "  Ann  Lee Bo wrote to ann@mill, and Ann"
    (verdict,) = judge.judge([ask("?", text)])
    assert [text[s.start : s.end] for s in verdict.spans] == ["Ann  Lee", "Bo", "ann@mill", "Ann"]
    assert (verdict.label, verdict.categories) == ("privacy", ("NAME", "MAIL"))
    assert verdict.score == pytest.approx(0.975, abs=1e-4)  # all labels that count
    (mails,) = knowing(TaggerJudge(folder, entities=["MAIL"], label="harmful", device="cpu"), SAID).judge(
        [ask("?", text)]
    )
    assert [text[s.start : s.end] for s in mails.spans] == ["ann@mill"]
    assert mails.label == "harmful"


def test_long_responses_are_read_in_windows(folder: Path, ask: Ask) -> None:
    judge = knowing(TaggerJudge(folder, device="cpu"), SAID)
    text = "wrote to and " * 30 + "Ann Lee " + "and wrote " * 30 + "Bo"
    (verdict,) = judge.judge([ask("?", text)])
    assert [text[s.start : s.end] for s in verdict.spans] == ["Ann Lee", "Bo"]
    (all_of_it,) = judge.judge([ask("?", "Ann " + "Lee " * 100)])
    assert all_of_it.spans == (Span(0, 403),)


def test_scores_are_the_models_own_and_batches_change_nothing(folder: Path, ask: Ask) -> None:
    import torch

    judge = TaggerJudge(folder, threshold=0.01, device="cpu")
    dialogues = [ask("?", " ".join(WORDS[(i + k) % 9] for k in range(i + 1))) for i in range(9)]
    for verdict, dialogue in zip(judge.judge(dialogues), dialogues, strict=True):
        with torch.inference_mode():
            logits = judge._model(**judge._tokenizer(dialogue.response, return_tensors="pt")).logits
        assert verdict.score == pytest.approx(logits.softmax(-1)[0, 1:-1, 1:].sum(-1).max().item(), abs=1e-5)
        assert verdict.score == pytest.approx(judge.judge([dialogue])[0].score, abs=1e-6)


def test_by_name_and_with_nothing_to_judge(folder: Path, ask: Ask) -> None:
    judge = load_judge(f"tagger={folder}")
    assert isinstance(judge, Judge) and judge.name == "tagger"
    assert judge.judge([ask("?", " ")])[0].label == "unknown"
    assert judge.judge([]) == []
    assert judge.version == TaggerJudge(folder).version != TaggerJudge(folder, threshold=0.6).version


@pytest.mark.parametrize("labels", [["LABEL_0", "LABEL_1"], ["NAME", "MAIL"], ["O", "O"]])
def test_labels_that_do_not_tell_are_refused(tmp_path: Path, labels: list[str]) -> None:
    with pytest.raises(InputError, match="cannot tell which labels"):
        TaggerJudge(build(tmp_path, labels))


def test_settings_are_checked(folder: Path, tmp_path: Path) -> None:
    settings: list[tuple[dict[str, Any], str]] = [
        ({"entities": ["PHONE"]}, "no entity 'PHONE'"), ({"threshold": 0.0}, "threshold"), ({"label": "clean"}, "fault")
    ]  # fmt: skip
    for options, message in settings:
        with pytest.raises(InputError, match=message):
            TaggerJudge(folder, **options)
    with pytest.raises(InputError, match="cannot load the tagger"):
        TaggerJudge(tmp_path)


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("O", Tag("", False)), ("B-NAME", Tag("NAME", True)), ("I-NAME", Tag("NAME", False)),
        ("E-NAME", Tag("NAME", False)), ("S-private_email", Tag("private_email", True)), ("EMAIL", Tag("EMAIL", False)),
    ],
)  # fmt: skip
def test_tags(name: str, tag: Tag) -> None:
    assert tag_of(name) == tag


@st.composite
def marked(draw: st.DrawFn) -> tuple[str, list[Token]]:
    text = draw(st.text(alphabet="ab \n\t\u00a0é", min_size=1, max_size=30))
    spans = draw(st.lists(st.tuples(st.integers(0, len(text) - 1), st.integers(1, 6)), max_size=8))
    tags = st.builds(Tag, st.sampled_from(["A", "B"]), st.booleans())
    return text, [Token(Span(a, min(len(text), a + n)), draw(tags), 0.7) for a, n in spans]


@given(marked())
def test_spans_are_inside_the_text_and_never_empty(case: tuple[str, list[Token]]) -> None:
    text, tokens = case
    for finding in joined(text, tokens):
        said = text[finding.span.start : finding.span.end]
        assert 0 <= finding.span.start < finding.span.end <= len(text)
        assert said == said.strip()
