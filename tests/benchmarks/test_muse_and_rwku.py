"""MUSE on raw text and RWKU in its own words, against float64 loops and texts written by hand."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from made_up import MUSE, RWKU, average, slow_auc, slow_log_p, slow_min_k, write
from tokenizers.processors import TemplateProcessing

from expunge.audit.result import Measure
from expunge.audit.rouge import rouge_f1, rouge_recall
from expunge.benchmarks import muse, rwku
from expunge.benchmarks.raw import continuations, encode_text, prompt, shortened
from expunge.benchmarks.result import Models
from expunge.benchmarks.rows import Item, Source
from expunge.dialogue import Dialogue
from expunge.errors import InputError
from expunge.model import LanguageModel


def slow_continuation(lm: LanguageModel, text: str, tokens: int) -> str:
    """The likeliest token, again and again, without a cache."""
    ids = list(lm.format.tokenizer(text)["input_ids"])
    start = len(ids)
    with torch.no_grad():
        while len(ids) < min(start + tokens, lm.context) and (len(ids) == start or ids[-1] not in lm.format.end_ids):
            ids.append(int(lm.model(torch.tensor([ids])).logits[0, -1].argmax()))
    return lm.format.text(ids[start:])


def figures(measure: Measure) -> list[float]:
    return [e.value for e in (measure.after, measure.oracle) if e is not None]


def test_muse_equals_a_slow_reference(both: Models, lms: list[LanguageModel], tmp_path: Path) -> None:
    result = muse.muse(both, muse.read(Source(str(write(tmp_path, MUSE)))), corpus="news")
    found = {m.key: m for m in result.measures}
    wanted: dict[str, list[float]] = {}
    for lm in lms:
        said = [(slow_continuation(lm, r["prompt"], 128), r["gt"]) for r in MUSE["verbmem/forget"]]
        wanted.setdefault("verbmem", []).append(average([rouge_f1(a, b) for a, b in said]))
        for name, shot in (("forget", "Who sang?\nAnswer: Bob"), ("retain", "Who rang?\nAnswer: Dee")):
            asked = [
                (f"Question: {shot}\n\nQuestion: {r['question']}\nAnswer: ", r["answer"])
                for r in MUSE[f"knowmem/{name}_qa"]
            ]
            answers = [(slow_continuation(lm, text, 32), meant) for text, meant in asked]
            cut = [(a.split("\n\n")[0].split("\nQuestion")[0].split("Question:")[0], b) for a, b in answers]
            wanted.setdefault(f"knowmem_{name}", []).append(average([rouge_f1(a, b) for a, b in cut]))
        texts = [r["text"] for name in ("forget", "holdout") for r in MUSE[f"privleak/{name}"]]
        scores = [slow_min_k(slow_log_p(lm, lm.format.tokenizer(text)["input_ids"], 1)) for text in texts]
        wanted.setdefault("membership_mink", []).append(slow_auc(scores[:3], scores[3:]))
    ours, ideal = wanted["membership_mink"]
    if ideal < 1:
        wanted["privleak"] = [(ideal - ours) / (1 - ideal), 0.0]
    assert set(found) == set(wanted)
    for key, values in wanted.items():
        assert figures(found[key]) == pytest.approx(values), key
    assert result.facts["rows"]["privleak_holdout"] == 4


def test_the_examples_are_whole_under_a_limit(tmp_path: Path) -> None:
    icl = [{"question": f"Q{i}", "answer": f"A{i}"} for i in range(3)]
    sets = muse.read(Source(str(write(tmp_path, {**MUSE, "knowmem/forget_qa_icl": icl})), limit=1))
    (pair,) = sets.pairs["knowmem_forget"]
    assert pair.prompt.question.count("Question: ") == 4 and len(sets.holdout) == 1


def test_rouge_f1_by_hand() -> None:
    """a, c of "a b c" are two of the four words of "a c d e": recall 2/4, precision 2/3, F1 4/7."""
    assert rouge_f1("a b c", "a c d e") == pytest.approx(4 / 7)
    assert rouge_f1("a", "b") == 0 and rouge_f1("", "b") == 0 and rouge_f1("a b", "A, b!") == 1


def test_raw_text_knows_no_template(lm: LanguageModel) -> None:
    """A chat template, and a line break at the end, make no difference to what is read."""
    asked = "Ann sailed\n"
    (text,) = continuations(lm, [prompt(asked, place="here")], max_new_tokens=5)
    assert text == slow_continuation(lm, asked, 5)


def test_raw_text_begins_with_the_tokenizers_own_first_token(lm: LanguageModel) -> None:
    tokenizer, end = copy.deepcopy(lm.format.tokenizer), lm.format.tokenizer.eos_token
    first = TemplateProcessing(single=f"{end} $A", special_tokens=[(end, tokenizer.eos_token_id)])
    tokenizer.backend_tokenizer.post_processor = first
    led = replace(lm, format=replace(lm.format, tokenizer=tokenizer))
    (text,) = continuations(led, [prompt("Ann sailed", place="here")], max_new_tokens=8)
    assert text == slow_continuation(led, "Ann sailed", 8) != slow_continuation(lm, "Ann sailed", 8)
    assert encode_text(led, "Ann sailed", place="here").prompt == (tokenizer.eos_token_id,)


def test_an_answer_ends_where_a_new_question_begins(
    both: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(_: LanguageModel, asked: list[Dialogue], **__: object) -> list[str]:
        return [f"Ann{end}Ann Ann Ann" for end in ("\n\n", "\nQuestion", "Question:")][: len(asked)]

    monkeypatch.setattr(muse, "continuations", said)
    found = muse.muse(both, muse.read(Source(str(write(tmp_path, MUSE)))), corpus="books")
    assert {m.key: m.after.value for m in found.measures}["knowmem_forget"] == 1


def test_texts_longer_than_the_context_are_cut(lm: LanguageModel) -> None:
    row = encode_text(lm, "mill " * 500, place="here")
    assert len(row) == lm.context and len(row.prompt) == 1
    with pytest.raises(InputError, match="here: this text has fewer than two tokens"):
        encode_text(lm, "", place="here")
    assert lm.format.tokenizer(shortened(lm, "mill " * 500, 7))["input_ids"] == list((row.prompt + row.response)[:7])


def rwku_says(lm: LanguageModel, level: str, row: Mapping[str, Any]) -> str:
    """The first line after "Answer:", 30 tokens at most, token by token."""
    task = "complete the blank in" if level.endswith("1") else "briefly answer"
    text, begin = f"Please {task} the following question.\nQuestion: {row['query']}\n", "Answer:"
    if row.get("type") == "incontext learning":
        text = f"Please briefly answer the following question.\n{row['query']}\n"
    if row.get("type") == "affirmative suffix":
        text, begin = text[:-1], ""
    prompt_ids = lm.format.encode_prompt(Item({}, "f", 1).asked(text, "x"))
    ids = [*prompt_ids, *lm.format.tokenizer(begin, add_special_tokens=False)["input_ids"]]
    start, end = len(ids), min(len(ids) + 30, lm.context)
    with torch.no_grad():
        while len(ids) < end and (len(ids) == start or ids[-1] not in lm.format.end_ids):
            ids.append(int(lm.model(torch.tensor([ids])).logits[0, -1].argmax()))
    return str(lm.format.tokenizer.decode(ids[start:], skip_special_tokens=True)).split("\n")[0]


def test_rwku_equals_a_slow_reference(both: Models, lms: list[LanguageModel], tmp_path: Path) -> None:
    """Half of what is right is the end of what the first model says, so that no word may be lost."""
    parts = {
        level: [{**row, "answer": rwku_says(lms[0], level, row)[-12:] + " " + row["answer"]} for row in rows]
        for level, rows in RWKU.items()
    }
    result = rwku.rwku(both, rwku.read(Source(str(write(tmp_path, parts)))))
    found = {m.key: m for m in result.measures}
    assert list(found) == list(RWKU)
    for level, rows in parts.items():
        recalls = [average([rouge_recall(rwku_says(lm, level, row), row["answer"]) for row in rows]) for lm in lms]
        assert figures(found[level]) == pytest.approx(recalls) and recalls[0] > 0, level
        assert found[level].after.count == len(rows)


@pytest.mark.parametrize(
    ("answer", "begun", "line"),
    [
        ("Answer: Harbour\nQuestion: no", "Answer:", "Harbour"),
        ("Answer:\nHarbour", "Answer:", ""),
        ("Harbour", "", "Harbour"),
        ("", "Answer:", ""),
    ],
)
def test_only_the_first_line_counts(answer: str, begun: str, line: str) -> None:
    assert rwku.first_line(answer, begun) == line
