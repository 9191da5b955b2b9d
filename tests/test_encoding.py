"""Dialogues to tokens: what is trained is what generation sees, and a span marks its tokens and no others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge.dialogue import Dialogue, Message
from expunge.encoding import Batch, alike, by_length, response_logits
from expunge.errors import InputError
from expunge.judges.verdict import Span
from expunge.model import LanguageModel, load_model


@pytest.fixture(scope="module")
def lm(tiny: Path) -> LanguageModel:
    return load_model(tiny)


@pytest.fixture(scope="module")
def plain(tiny_plain: Path) -> LanguageModel:
    return load_model(tiny_plain)


def dialogue(answer: str, question: str = "What is it?") -> Dialogue:
    return Dialogue((Message("user", question), Message("assistant", answer)))


@pytest.mark.parametrize("answer", ["It is 4-71-63.", "  leading space", "é 😀 ñ", "two\nlines", "x"])
def test_prompt_and_response_are_what_generation_sees(lm: LanguageModel, plain: LanguageModel, answer: str) -> None:
    for model in (lm, plain):
        row = model.format.encode(dialogue(answer))
        assert row.prompt == model.format.prompt_ids(dialogue(answer).prompt)
        assert model.format.text(row.response) == answer.strip()
        assert row.response[-1] in model.format.end_ids and row.response[-2] not in model.format.end_ids
        assert all(row.fault), "without spans the whole response is at fault"


def test_the_plain_template_is_the_documented_one(plain: LanguageModel) -> None:
    tokenizer = plain.format.tokenizer
    row = plain.format.encode(dialogue("Ann.", "Who?"))
    assert row.prompt == tuple(tokenizer("Question: Who?\nAnswer:")["input_ids"])
    assert row.response == (*tokenizer(" Ann.", add_special_tokens=False)["input_ids"], tokenizer.eos_token_id)


@settings(max_examples=60, deadline=None)
@given(text=st.text(min_size=1, max_size=30).filter(str.strip), data=st.data())
def test_a_span_marks_every_token_that_touches_it(lm: LanguageModel, text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    span = Span(start, data.draw(st.integers(start + 1, len(text))))
    row = lm.format.encode(dialogue(text), [span])
    offsets = lm.format.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    if len(offsets) != len(row.response) - 1:
        return  # the text itself holds something like a special token
    assert row.fault == (*(a < span.end and b > span.start for a, b in offsets), False)


def test_many_turns_and_a_template_that_strips(lm: LanguageModel) -> None:
    turns = (Message("user", "I am Ann."), Message("assistant", "Hello."), Message("user", "Who am I?"))
    row = lm.format.encode(Dialogue((*turns, Message("assistant", "You are Ann."))))
    assert "Hello." in lm.format.tokenizer.decode(row.prompt)
    strips = "{% for m in messages %}<{{ m.content | trim }}>{% endfor %}{% if add_generation_prompt %}<{% endif %}"
    stripped = replace(lm.format, template=strips.replace("<{{", "<{{"))
    coded = stripped.encode(dialogue("  4-71 "), [Span(2, 6)])
    marked = [t for t, bad in zip(coded.response, coded.fault, strict=True) if bad]
    assert stripped.tokenizer.decode(marked) == "4-71"


def test_templates_and_rows_that_cannot_be_used(lm: LanguageModel) -> None:
    rewrites = "{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}"
    with pytest.raises(InputError, match="changes the prompt"):
        replace(lm.format, template=rewrites).encode(dialogue("a"))
    with pytest.raises(InputError, match="chat template failed"):
        replace(lm.format, template="{{ nothing.at.all }}").encode(dialogue("a"))
    long = replace(dialogue("word " * 200), source="d.jsonl:4")
    with pytest.raises(InputError, match=r"d\.jsonl:4: \d+ tokens, but the model's context is 128"):
        lm.format.encode(long)
    with pytest.raises(InputError, match="no response"):
        lm.format.encode(Dialogue((Message("user", "a"),)))


def test_padding_never_changes_what_is_predicted(lm: LanguageModel) -> None:
    rows = [lm.format.encode(dialogue("It is " + "4-71-63, " * n + "yes.", "Q " * n)) for n in (1, 2, 5, 3)]
    together = response_logits(lm.model, rows, "cpu")
    batch = Batch.of(rows)
    padded = batch.logits(lm.model)
    for i, row in enumerate(rows):
        ids = torch.tensor([row.prompt + row.response])
        alone = lm.model(ids).logits[0, len(row.prompt) - 1 : -1]
        torch.testing.assert_close(together[i], alone, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(padded[i][batch.response[i]], alone, atol=1e-5, rtol=1e-5)
        assert batch.targets[i][batch.response[i]].tolist() == list(row.response)


@given(lengths=st.lists(st.integers(1, 300), max_size=40), tokens=st.integers(1, 900), waste=st.floats(0, 0.9))
def test_batches_hold_every_row_once(lengths: list[int], tokens: int, waste: float) -> None:
    for batches in (list(by_length(lengths, tokens=tokens)), list(alike(lengths, waste=waste))):
        assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in by_length(lengths, tokens=tokens):
        assert len(batch) == 1 or max(lengths[i] for i in batch) * len(batch) <= tokens
    for batch in alike(lengths, waste=waste):
        padded = max(lengths[i] for i in batch) * len(batch)
        assert padded - sum(lengths[i] for i in batch) <= waste * padded + 1e-9
