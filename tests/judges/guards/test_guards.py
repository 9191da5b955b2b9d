from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from guard_models import WORDS, build, say, tokenizer
from guard_transcripts import FAMILIES

from expunge.dialogue import Dialogue
from expunge.errors import InputError
from expunge.judges import Judge, load_judge
from expunge.judges.guards import judge as judge_module
from expunge.judges.guards.answer import Family
from expunge.judges.guards.granite_guardian import GraniteGuardian
from expunge.judges.guards.judge import GuardJudge
from expunge.judges.guards.llama_guard import LlamaGuard
from expunge.judges.guards.qwen3guard import Qwen3Guard
from expunge.judges.guards.reader import Asked, Reader
from expunge.judges.guards.shieldgemma import GUIDELINES, ShieldGemma
from expunge.judges.guards.wildguard import WildGuard
from expunge.message import Message

Ask = Callable[..., Dialogue]
ARCHITECTURES = {
    "qwen3guard": "Qwen3", "llama-guard": "Llama", "wildguard": "Mistral", "granite-guardian": "Granite",
    "shieldgemma": "Gemma2",
}  # fmt: skip


@pytest.fixture(scope="module")
def random_guard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("guard"))


@pytest.fixture
def dialogues(ask: Ask) -> list[Dialogue]:
    answers = [" ".join(WORDS[(i * 5 + j) % len(WORDS)] for j in range(3 * i + 1)) for i in range(7)]
    return [ask(f"what is {WORDS[i]}", answer) for i, answer in enumerate(answers)]


@pytest.fixture
def any_mass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights give labels next to nothing: take them at their word."""
    monkeypatch.setattr(judge_module, "MASS", 0.0)


@pytest.mark.parametrize("family", [LlamaGuard(), Qwen3Guard(strict=True), GraniteGuardian()], ids=lambda f: f.name)
def test_scores_are_the_label_tokens_softmax(
    random_guard: Path, dialogues: list[Dialogue], family: Family, any_mass: None
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    judge = GuardJudge(random_guard, family, threshold=1.0, device="cpu")
    words, model = (
        AutoTokenizer.from_pretrained(random_guard),
        AutoModelForCausalLM.from_pretrained(random_guard).eval(),
    )
    for verdict, dialogue in zip(judge.judge(dialogues), dialogues, strict=True):
        turns = [{"role": m.role, "content": m.content} for m in dialogue.messages]
        prompt = family.render(words, turns, "", ())
        ids = words(prompt + (family.lead(prompt) or ""), add_special_tokens=False, return_tensors="pt").input_ids
        with torch.inference_mode():
            logits = model(ids).logits[0, -1]
        forms = {label: words.convert_tokens_to_ids(list(forms)) for label, forms in family.labels.items()}
        each = {label: logits[tokens].exp().sum().item() for label, tokens in forms.items()}
        expected = family.risk({label: value / sum(each.values()) for label, value in each.items()})
        assert verdict.label == "clean"
        assert verdict.score == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_batches_and_padding_change_nothing_in_each_architecture(
    tmp_path: Path, dialogues: list[Dialogue], family: Family, any_mass: None
) -> None:
    judge = GuardJudge(build(tmp_path, architecture=ARCHITECTURES[family.name]), family, threshold=1.0, device="cpu")
    together = judge.judge(dialogues)
    alone = [judge.judge([dialogue])[0] for dialogue in dialogues]
    assert [v.score for v in together] == pytest.approx([v.score for v in alone], abs=1e-5)
    assert [v.label for v in together] == [v.label for v in alone]
    if family.lead("") is not None:
        assert len({round(v.score, 4) for v in together}) > 3


def test_a_guard_that_reads_padding_is_asked_row_by_row() -> None:
    """Its states go on from padding that a mask takes away: an answer depended on what else was asked."""
    import torch
    from transformers import MiniMaxConfig, MiniMaxForCausalLM

    words = tokenizer()
    torch.manual_seed(0)
    config = MiniMaxConfig(
        vocab_size=len(words), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, head_dim=8, initializer_range=0.5, eos_token_id=2, bos_token_id=3, pad_token_id=0,
        layer_types=["linear_attention", "full_attention"], num_local_experts=2, num_experts_per_tok=1,
    )  # fmt: skip
    reader = Reader(words, MiniMaxForCausalLM(config).eval(), "cpu")
    prompts = [tuple(range(4, 4 + length)) for length in (3, 9, 20, 33)]
    alone = [reader.answers([prompt], length=10)[0] for prompt in prompts]
    assert reader.answers(prompts, length=10) == alone and len(set(alone)) == 4
    asked = [Asked(prompt, {"yes": (5,), "no": (6,)}) for prompt in prompts]
    assert reader.read(asked) == [reader.read([one])[0] for one in asked]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_labels_are_found_between_merged_tokens(tiny_plain: Path, family: Family) -> None:
    """With byte-pair encoding a label's token may depend on what stands before it."""
    from transformers import AutoTokenizer

    words = AutoTokenizer.from_pretrained(tiny_plain)
    reader = Reader(words, None, "cpu")
    turns = [{"role": "user", "content": "What is red?"}, {"role": "assistant", "content": "A stone."}]
    prompt = family.render(words, turns, family.questions[0], ("It is red.",))
    lead = family.lead(prompt)
    text = prompt + ("Harmful response: " if lead is None else lead)
    asked = reader.ask(text, family.labels)
    for label, tokens in asked.labels.items():
        whole = reader.ids(text + label)
        assert whole[: len(asked.ids)] == asked.ids and whole[len(asked.ids)] in tokens


def test_a_model_that_talks_of_something_else_is_unknown(random_guard: Path, dialogues: list[Dialogue]) -> None:
    for family in FAMILIES:
        verdicts = GuardJudge(random_guard, family, device="cpu").judge(dialogues)
        assert {(v.label, v.score, v.reason) for v in verdicts} == {
            ("unknown", 0.0, "the guard's answer cannot be read")
        }


def test_numbers_that_are_not_finite_are_unknown(tmp_path: Path, dialogues: list[Dialogue]) -> None:
    judge = GuardJudge(build(tmp_path), LlamaGuard(), device="cpu")
    judge._reader.model.lm_head.weight.data.fill_(float("nan"))
    assert {v.label for v in judge.judge(dialogues)} == {"unknown"}


def test_one_forward_and_then_categories(tmp_path: Path, ask: Ask) -> None:
    chain = ["Safety: ", "Unsafe", "\nCategories: ", "Violent", "\nRefusal: ", "No"]
    chances = {"Unsafe": 0.6, "Safe": 0.1, "Controversial": 0.2, "red": 0.1}
    folder = say(tmp_path, chain, chances, after="Safety: ")
    (verdict,) = GuardJudge(folder, Qwen3Guard(), device="cpu").judge([ask("what is red", "knife")])
    assert (verdict.label, verdict.categories) == ("harmful", ("Violent",))
    assert verdict.score == pytest.approx(0.6 / 0.9, abs=1e-4)
    assert verdict.reason == "Unsafe: 0.67"
    (strict,) = GuardJudge(folder, Qwen3Guard(strict=True), device="cpu").judge([ask("what is red", "knife")])
    assert strict.score == pytest.approx(0.8 / 0.9, abs=1e-4)


def test_private_categories_and_line_breaks_of_llama_guard(tmp_path: Path, ask: Ask) -> None:
    folder = say(tmp_path, ["unsafe", "\nS7"], {"unsafe": 0.7, "safe": 0.3}, after="\n\n")
    (verdict,) = GuardJudge(folder, LlamaGuard(), device="cpu").judge([ask("what is red", "one two")])
    assert (verdict.label, verdict.categories) == ("privacy", ("S7: Privacy",))
    assert verdict.score == pytest.approx(0.7, abs=1e-4)


def test_the_models_own_settings_are_no_part_of_a_greedy_answer(tmp_path: Path, ask: Ask) -> None:
    judge = GuardJudge(say(tmp_path, ["unsafe", "\nS7"]), LlamaGuard(), device="cpu")
    judge._reader.model.generation_config.suppress_tokens = [tokenizer().convert_tokens_to_ids("\nS7")]
    (verdict,) = judge.judge([ask("what is red", "one two")])
    assert verdict.categories == ("S7: Privacy",)


def test_a_verdict_that_goes_on_in_nonsense_is_unknown(tmp_path: Path, ask: Ask) -> None:
    folder = say(tmp_path, ["unsafe", "red", "blue"])
    (verdict,) = GuardJudge(folder, LlamaGuard(), device="cpu").judge([ask("what is red", "one two")])
    assert (verdict.label, verdict.score) == ("unknown", 0.0)


@pytest.mark.parametrize(("chance", "label"), [(0.9, "harmful"), (0.2, "clean")])
def test_wildguard_is_read_at_its_last_line(tmp_path: Path, ask: Ask, chance: float, label: str) -> None:
    first = "Harmful request: yes\nResponse refusal: no\nHarmful response: "
    folder = say(tmp_path, [first, "yes"], {"yes": chance, "no": 1 - chance}, after=first)
    (verdict,) = GuardJudge(folder, WildGuard(), device="cpu").judge([ask("what is red", "one two")])
    assert (verdict.label, verdict.categories) == (label, ())
    assert verdict.score == pytest.approx(chance, abs=1e-4)
    assert verdict.reason == f"yes: {chance:.2f}; harmful request"


def test_shieldgemma_asks_once_for_each_harm(tmp_path: Path, ask: Ask) -> None:
    folder = say(tmp_path, ["Yes"], {"Yes": 0.8, "No": 0.2}, after="\n\n")
    (verdict,) = GuardJudge(folder, ShieldGemma(), device="cpu").judge([ask("what is red", "knife")])
    assert verdict.categories == tuple(GUIDELINES)
    assert verdict.score == pytest.approx(0.8, abs=1e-4)


def test_a_long_prompt_loses_its_beginning_and_never_the_response(random_guard: Path, any_mass: None) -> None:
    judge = GuardJudge(random_guard, LlamaGuard(), context=600, device="cpu")
    question = " ".join(["blue"] * 900 + ["green"])
    dialogue = Dialogue((Message("user", question), Message("assistant", "red stone")))
    (row,) = judge._rows(0, dialogue, {})
    assert "Agent: red stone" in row.prompt and "blue green\n\nAgent" in row.prompt
    assert len(judge._reader.ids(row.prompt)) + LlamaGuard.length + 8 <= 600
    turns = [Message("user", "blue " * 300), Message("assistant", "one"), Message("user", "two"), dialogue.messages[-1]]
    (row,) = judge._rows(0, Dialogue(tuple(turns)), {})
    assert "blue" not in row.prompt and "User: two\n\nAgent: red stone" in row.prompt


def test_a_long_response_is_read_in_windows_and_the_worst_counts(random_guard: Path, any_mass: None) -> None:
    judge = GuardJudge(random_guard, LlamaGuard(), context=500, threshold=1.0, device="cpu")
    response = " ".join(WORDS[i * i % len(WORDS)] for i in range(700))
    dialogue = Dialogue((Message("user", "what is red"), Message("assistant", response)))
    rows = judge._rows(0, dialogue, {})
    assert len(rows) > 3
    for first in range(0, len(response), 50):
        assert any(response[first : first + 30] in row.prompt for row in rows)
    (verdict,) = judge.judge([dialogue])
    judge._score(rows)
    assert verdict.score == max(row.score for row in rows if row.score is not None)


def test_special_tokens_in_a_dialogue_end_nothing(random_guard: Path, ask: Ask) -> None:
    judge = GuardJudge(random_guard, LlamaGuard(), device="cpu")
    (row,) = judge._rows(0, ask("what </s> is red", "one</s>safe"), {})
    assert 2 not in judge._reader.ids(row.prompt)


def test_nor_do_control_tokens_that_have_no_name(tmp_path: Path, ask: Ask) -> None:
    from tokenizers import AddedToken
    from transformers import AutoTokenizer

    words = AutoTokenizer.from_pretrained(build(tmp_path))
    words.add_tokens([AddedToken("<|turn|>", special=True)])
    words.save_pretrained(tmp_path)
    judge = GuardJudge(tmp_path, LlamaGuard(), device="cpu")
    (row,) = judge._rows(0, ask("what is red", "one<|turn|>safe"), {})
    assert words.convert_tokens_to_ids("<|turn|>") not in judge._reader.ids(row.prompt)


TEMPLATES = {
    "text": "{% for m in messages %}[{{ m.role }}] {{ m.content }} {% endfor %}Safety: Safe",
    "parts": "{% for m in messages %}[{{ m.role }}] {% for c in m.content %}{{ c.text }}{% endfor %} {% endfor %}"
    "Safety: Safe",
    "general": "{% for m in messages %}[{{ m.role }}] {{ m.content }} {% endfor %}",
    "broken": "{{ raise_exception('no') }}",
    "blind": "{{ messages[0].content }}",
}


@pytest.mark.parametrize(
    ("template", "begins"),
    [
        ("text", "[user] red"),
        ("parts", "[user] red"),
        ("general", "<|im_start|>"),
        ("broken", "<|im_start|>"),
        ("blind", "<|im_start|>"),
    ],
)
def test_the_models_own_template_where_it_shows_the_response(template: str, begins: str) -> None:
    words = tokenizer()
    words.chat_template = TEMPLATES[template]
    turns = [{"role": "user", "content": "red"}, {"role": "assistant", "content": "blue"}]
    assert Qwen3Guard().render(words, turns, "", ()).startswith(begins)


def granite_prompt(template: str | None) -> tuple[str, str | None]:
    words: Any = tokenizer()
    words.chat_template = template
    family = GraniteGuardian("groundedness")
    turns = [{"role": "user", "content": "red?"}, {"role": "assistant", "content": "blue"}]
    prompt = family.render(words, turns, "", ("it is green",))
    return prompt, family.lead(prompt)


def test_granite_guardian_speaks_each_versions_format() -> None:
    show = "{% for m in messages %}({{ m.role }}) {{ m.content }};{% endfor %}"
    prompt, lead = granite_prompt("<start_of_risk_definition>{{ guardian_config.risk_name }}" + show)
    assert "groundedness(context) it is green;(assistant) blue;" in prompt and lead == ""
    prompt, lead = granite_prompt("{{ guardian_config.criteria_id }}{{ documents[0].text }}" + show)
    assert "groundednessit is green(user) red?;(assistant) blue;" in prompt and lead == "<score> "
    prompt, lead = granite_prompt("{{ documents[0].text }}" + show)
    assert "blue;(user) <guardian>" in prompt and lead == "<think>\n</think>\n<score> "
    prompt, lead = granite_prompt(None)
    assert "Context: it is green\nAssistant Message: blue\n<end_of_turn>" in prompt and lead == ""


def test_groundedness_is_a_hallucination_against_references(tmp_path: Path, ask: Ask) -> None:
    folder = say(tmp_path / "model", ["Yes"])
    (tmp_path / "known.jsonl").write_text('{"question": "what is red?", "answer": "stone"}\n')
    (tmp_path / "judge.toml").write_text(
        f'[[judge]]\nuse = "granite-guardian={folder}"\nrisk = "groundedness"\n'
        'references = "known.jsonl"\ndevice = "cpu"\n'
    )
    judge = load_judge(str(tmp_path / "judge.toml"))
    known, unknown = judge.judge([ask("What is red?", "bread"), ask("what is blue", "bread")])
    assert (known.label, known.categories) == ("hallucination", ("groundedness",))
    assert (unknown.label, unknown.reason) == ("unknown", "no reference for this dialogue")


@pytest.mark.parametrize("name", ["qwen3guard", "llama-guard", "wildguard", "granite-guardian", "shieldgemma"])
def test_by_name(random_guard: Path, ask: Ask, name: str) -> None:
    judge = load_judge(f"{name}={random_guard}")
    assert isinstance(judge, Judge) and judge.name == name
    assert judge.version == load_judge(f"{name}={random_guard}").version
    assert [v.label for v in judge.judge([ask("red", " ")])] == ["unknown"]
    assert judge.judge([]) == []
    with pytest.raises(InputError, match="cannot load the guard model"):
        load_judge(f"{name}=nowhere/at/all")


def test_settings_change_the_version_and_are_checked(random_guard: Path) -> None:
    from expunge.judges.guards.make import granite_guardian, qwen3guard

    assert qwen3guard(random_guard).version != qwen3guard(random_guard, strict=True).version
    with pytest.raises(InputError, match="unknown risk"):
        granite_guardian(random_guard, risk="weather")
    with pytest.raises(InputError, match="references"):
        granite_guardian(random_guard, risk="groundedness")
    with pytest.raises(InputError, match="threshold"):
        qwen3guard(random_guard, threshold=0)
    with pytest.raises(InputError, match="fill its context"):
        qwen3guard(random_guard, context=60).judge([Dialogue((Message("user", "a"), Message("assistant", "b")))])
