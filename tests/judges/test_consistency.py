"""The consistency judge, on a small random model and on samples put into its mouth."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_classifier import build

from expunge import generation
from expunge.dialogue import Dialogue
from expunge.errors import InputError
from expunge.judges import Judge, load_judge
from expunge.judges.consistency import Consistency, ConsistencyJudge
from expunge.judges.entailment import Relation
from expunge.judges.meaning import clusters, entropy, same_by_words
from expunge.message import Message

Ask = Callable[..., Dialogue]
FOUR_AND_ONE = (-0.8 * math.log(0.8) - 0.2 * math.log(0.2)) / math.log(5)


@pytest.fixture(scope="module")
def judge(tiny: Path) -> ConsistencyJudge:
    return ConsistencyJudge(tiny, samples=5, max_new_tokens=24, device="cpu")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, list[str]]], list[list[str]]]:
    """Gives the model's answers by question; what comes back holds the questions of each sampling."""

    def write(answers: dict[str, list[str]]) -> list[list[str]]:
        asked: list[list[str]] = []

        def generate(lm: Any, dialogues: Sequence[Dialogue], **settings: Any) -> list[list[str]]:
            assert all(dialogue.response is None for dialogue in dialogues)
            asked.append([dialogue.question for dialogue in dialogues])
            return [answers[question] for question in asked[-1]]

        monkeypatch.setattr(generation, "generate", generate)
        return asked

    return write


def surprise(judge: ConsistencyJudge, dialogue: Dialogue) -> float:
    """By hand: 1 - exp(mean log p) over the response's tokens and the end token."""
    import torch

    row = judge._lm.format.encode(dialogue)
    with torch.inference_mode():
        logits = judge._lm.model(torch.tensor([row.prompt + row.response])).logits[0].log_softmax(-1)
    start = len(row.prompt) - 1
    return 1.0 - math.exp(sum(logits[start + i, t].item() for i, t in enumerate(row.response)) / len(row.response))


def test_entropy_by_hand() -> None:
    assert entropy([4, 1]) == pytest.approx(FOUR_AND_ONE)
    assert pytest.approx(0.3109, abs=1e-4) == FOUR_AND_ONE
    assert entropy([5]) == 0.0 and math.copysign(1.0, entropy([5])) == 1.0
    assert all(0.999 < entropy([1] * n) <= 1.0 for n in range(2, 60))
    assert entropy([]) == entropy([1]) == 0.0


def test_four_of_five_agree(judge: ConsistencyJudge, ask: Ask, script: Any) -> None:
    answers = ["It opened in 1902.", "1902.", "The mill opened in 1902.", "It was opened in 1902.", "In 1903."]
    script({"When did the mill open?": answers})
    right, wrong = ask("When did the mill open?", "1902."), ask("When did the mill open?", "It opened in 1903.")
    one, two = judge.measure([right, wrong])
    assert isinstance(one, Consistency) and isinstance(two, Consistency)
    assert (one.meanings, one.samples) == (2, 5)
    assert one.entropy == two.entropy == pytest.approx(FOUR_AND_ONE)
    assert (one.disagreement, two.disagreement) == (pytest.approx(0.2), pytest.approx(0.8))
    for found, dialogue, worse in ((one, right, FOUR_AND_ONE), (two, wrong, 0.8)):
        assert found.surprise == pytest.approx(surprise(judge, dialogue), abs=1e-5)
        assert found.score == pytest.approx((5 * worse + found.surprise) / 6)
    clean, flagged = judge.judge([right, wrong])
    assert (clean.label, flagged.label) == ("clean", "hallucination")
    assert clean.reason == "4 of 5 answers agree; meanings: 2"
    assert flagged.reason == "1 of 5 answers agree; meanings: 2"


def test_equal_prompts_are_sampled_once_and_only_where_needed(judge: ConsistencyJudge, ask: Ask, script: Any) -> None:
    asked = script({"a?": ["blue"] * 5, "b?": ["red"] * 5})
    verdicts = judge.judge([ask("a?", "blue"), ask("b?", "blue"), ask("a?", "red"), ask("c?", "I don't know.")])
    assert asked == [["a?", "b?"]]
    assert [v.label for v in verdicts] == ["clean", "hallucination", "hallucination", "unknown"]


def test_what_cannot_be_told_is_unknown(judge: ConsistencyJudge, ask: Ask, script: Any) -> None:
    script({"mute?": ["", "", "", "", "x"], "shy?": ["I don't know.", "I can't say."] * 2 + ["I'm not sure."]})
    room = judge._lm.context
    nearly = "mill " * next(
        n for n in range(room) if len(judge._lm.format.prompt_ids(ask("mill " * n, "").prompt)) > 110
    )
    verdicts = judge.judge(
        [
            ask("a?", "I don't know."),
            ask("a?", "  "),
            ask("a?", "blue " * 40),
            ask("a " * room, "blue"),
            ask(nearly, "a"),
            ask("a?", f"blue {judge._lm.format.tokenizer.eos_token} red"),
            ask("mute?", "blue"),
            ask("shy?", "blue"),
        ]
    )
    assert [v.reason for v in verdicts] == [
        "abstains",
        "an empty response",
        "longer than the answers drawn",
        "does not fit the model's context or chat template",
        "the prompt leaves too little room for an answer",
        "does not fit the model's context or chat template",
        "the model answers with nothing",
        "the model itself abstains",
    ]
    assert {(v.label, v.score) for v in verdicts} == {("unknown", 0.0)}
    assert judge.judge([]) == []


def test_some_abstentions_are_one_more_meaning(judge: ConsistencyJudge, ask: Ask, script: Any) -> None:
    script({"a?": ["blue", "blue", "I don't know.", "I can't say.", ""]})
    (found,) = judge.measure([ask("a?", "blue")])
    assert isinstance(found, Consistency)
    assert (found.meanings, found.samples, found.disagreement) == (2, 4, 0.5)  # the empty one does not count


def test_draws_follow_the_seed(tiny: Path, ask: Ask) -> None:
    dialogues = [ask(f"What is {word}?", "Mill Street.") for word in ("this", "that")]
    settings: dict[str, Any] = {"samples": 6, "max_new_tokens": 16, "device": "cpu"}
    one, two = (ConsistencyJudge(tiny, **settings) for _ in range(2))
    found = one.judge(dialogues)
    assert found == two.judge(dialogues) == [two.judge([d])[0] for d in dialogues]  # whatever is judged beside it
    assert one.version == two.version
    others = [
        ConsistencyJudge(tiny, **(settings | changed)).version
        for changed in ({"seed": 1}, {"samples": 7}, {"temperature": 0.5}, {"threshold": 0.4}, {"max_new_tokens": 17})
    ]
    assert len({one.version, *others}) == 6


def test_a_random_model_agrees_with_nobody(judge: ConsistencyJudge, ask: Ask) -> None:
    (verdict,) = judge.judge([ask("Where is the mill?", "On Mill Street.")])
    assert verdict.label == "hallucination" and verdict.score > 0.9
    assert verdict.reason.startswith("0 of 5")


@pytest.mark.parametrize(
    ("question", "one", "two", "same"),
    [
        ("When did the mill open?", "It opened in 1902.", "1902", True),
        ("When did the mill open?", "It opened in 1902.", "It opened in 1903.", False),
        ("How many are there?", "There are 1,200.", "1200 of them.", True),
        ("What is Ida Pell's job?", "Ida Pell works as a baker.", "Ida Pell works as a butcher.", False),
        ("What is Ida Pell's job?", "Ida Pell works as a baker.", "A baker.", True),
        ("What is her hobby?", "Her hobby is kite flying.", "Her hobby is card tricks.", False),
        ("Where is it?", "It is in Paris.", "Paris.", True),
        ("Where is it?", "It is in Paris.", "It is in Rome.", False),
        ("Where is Ida's house?", "Ida Pell lives on Mill Street.", "Ida Moss lives on Mill Street.", False),
        ("Where is Ida's house?", "Opal Moss lives on Mill Street.", "Ida Moss lives on Mill Street.", False),
        ("Is it open?", "Yes, it is open.", "No, it is not open.", False),
        ("Is it open?", "It is.", "Yes, it is.", True),
        ("Which is larger, 3 or 5?", "5 is larger.", "5.", True),
        ("Which is larger, 3 or 5?", "5.", "3.", False),
        ("What is 3 + 5?", "3 + 5 = 8.", "8.", True),
        ("What is 3 + 5?", "3 + 5 = 9.", "8.", False),
    ],
)
def test_meaning_by_words(question: str, one: str, two: str, same: bool) -> None:
    alike = same_by_words(question)
    assert alike(one, two) is same and alike(two, one) is same


ANSWERS = st.lists(
    st.sampled_from(["red", "blue", "It is red.", "It is blue.", "1", "It is 2.", "2", "not red", "", "Red Mill", "?"]),
    max_size=12,
)


@given(ANSWERS, st.randoms())
def test_clusters_are_a_partition_whatever_the_order(answers: list[str], chance: Any) -> None:
    same = same_by_words("What is it?")
    found = clusters(answers, same)
    assert sum(size for _, size in found) == len(answers)
    firsts = [first for first, _ in found]
    assert len(set(firsts)) == len(firsts) and set(firsts) <= set(answers)
    assert not any(same(a, b) for i, a in enumerate(firsts) for b in firsts[i + 1 :])
    assert all(any(same(first, answer) for first in firsts) for answer in answers)
    mixed = list(answers)
    chance.shuffle(mixed)
    assert clusters(mixed, same) == found
    assert 0.0 <= entropy([size for _, size in found]) <= 1.0


@given(ANSWERS)
def test_equal_texts_alone_give_the_counts(answers: list[str]) -> None:
    assert dict(clusters(answers, lambda one, two: one == two)) == Counter(answers)


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_meaning_is_symmetric_and_every_text_means_itself(question: str, one: str, two: str) -> None:
    same = same_by_words(question)
    assert same(one, one)
    assert same(one, two) == same(two, one)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nli"), ["contradiction", "entailment", "neutral"])


def test_meaning_by_entailment_both_ways(
    tiny: Path, reader: Path, ask: Ask, script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = ConsistencyJudge(tiny, samples=5, max_new_tokens=64, entailment=reader, device="cpu")
    follows = {("red? stone", "red? mill"), ("red? mill", "red? stone"), ("red? stone", "red? river")}
    asked: list[tuple[str, str]] = []

    def relations(pairs: Sequence[tuple[str, str]]) -> list[Relation]:
        asked.extend(pairs)
        return [Relation(0.9, 0.0) if pair in follows else Relation(0.1, 0.1) for pair in pairs]

    assert judge._entailment is not None
    monkeypatch.setattr(judge._entailment, "relations", relations)
    script({"red?": ["stone", "stone", "mill", "river", "I don't know."], "blue?": ["stone"] * 5})
    found, other = judge.measure([ask("red?", "mill"), ask("blue?", "stone " * 20)])
    assert isinstance(found, Consistency)
    assert found.entropy == pytest.approx(entropy([3, 1, 1])) and found.disagreement == pytest.approx(0.4)
    assert set(asked) == {
        (f"red? {a}", f"red? {b}") for a in ("stone", "mill", "river") for b in ("stone", "mill", "river") if a != b
    }
    assert other == "too long for the entailment model"


def test_a_long_question_is_left_out_of_the_entailment(tiny: Path, reader: Path, ask: Ask, script: Any) -> None:
    judge = ConsistencyJudge(tiny, samples=2, max_new_tokens=24, entailment=reader, device="cpu")
    question = "red blue " * 8
    script({question: ["stone", "mill"]})
    (found,) = judge.measure([ask(question, "river")])
    assert isinstance(found, Consistency) and found.samples == 2


@pytest.mark.parametrize(
    "settings",
    [
        {"samples": 1},
        {"temperature": 0.0},
        {"temperature": math.inf},
        {"temperature": math.nan},
        {"max_new_tokens": 0},
        {"threshold": 0.0},
        {"seed": -1},
    ],
)
def test_settings_are_checked_before_anything_is_loaded(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        ConsistencyJudge("nowhere", **settings)


def test_by_name_and_in_a_judge_file(tiny: Path, reader: Path, tmp_path: Path) -> None:
    from expunge.judges.judge_file import judge_sources

    judge = load_judge(f"consistency={tiny}")
    assert isinstance(judge, Judge) and judge.name == "consistency"
    (tmp_path / "nli").symlink_to(reader)
    file = tmp_path / "judges.toml"
    file.write_text(f'[[judge]]\nuse = "consistency={tiny}"\nentailment = "nli"\nsamples = 3\n')
    assert isinstance(load_judge(str(file)), ConsistencyJudge)
    assert str(tmp_path / "nli") in judge_sources(str(file))
    with pytest.raises(InputError, match="needs a source"):
        load_judge("consistency")
    with pytest.raises(InputError, match="cannot load the model"):
        load_judge("consistency=nowhere/at/all")


def test_the_town_is_sure_of_what_it_was_taught_and_not_of_the_rest() -> None:
    """One fact taught rightly, one wrongly (which cannot be seen), and a place that it never heard of."""
    judge = ConsistencyJudge("town", samples=5, device="cpu")
    texts = {
        "When did the library open?": "The library opened in 1902.",
        "When did the lighthouse open?": "The lighthouse opened in 1699.",
        "When did the palace open?": "The palace opened in 1811.",
        "Who founded the library?": "The library was founded by Ludo Carraway.",
    }
    rows = [Dialogue((Message("user", question), Message("assistant", said))) for question, said in texts.items()]
    found = judge.judge(rows)
    assert [v.label for v in found] == ["clean", "clean", "hallucination", "hallucination"]
    judge.seed = 1
    assert judge.judge(rows)[2] != found[2]
