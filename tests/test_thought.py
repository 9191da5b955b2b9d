"""Models that think before they answer: read from logs, encoded, asked, judged, forgotten and audited."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from expunge import demo
from expunge.audit.audit import audit
from expunge.audit.probes import Case, topic
from expunge.audit.reading import Sets, read
from expunge.audit.thinking import thinking
from expunge.dialogue import Dialogue, parse
from expunge.diff import diff
from expunge.encoding import ChatFormat
from expunge.errors import InputError
from expunge.generation import generate, greedy, start_ids, think
from expunge.judges.panel import Panel, judge_all
from expunge.judges.privacy import PrivacyJudge
from expunge.judges.thoughts import judge_with_thoughts, with_thoughts
from expunge.judges.verdict import Judged, Verdict, read_verdicts
from expunge.message import THOUGHT, Message
from expunge.model import LanguageModel, load_model
from expunge.pipeline import run
from expunge.recipe import Recipe
from expunge.report.redact import MASK
from expunge.scan import Asking, Loaded, scan
from expunge.selection import read_forget, split
from expunge.span import Span
from expunge.steps import FORGET
from expunge.thought import Thinking, apart, marked
from expunge.training.config import UnlearnConfig

USER = Message("user", "Who?")
ANSWERED = Dialogue((USER, Message("assistant", "Ann Lee.")), id="a")
THOUGHT_OF = Dialogue((USER, Message(THOUGHT, "It is Ann."), Message("assistant", "Ann Lee.")), id="t")


def template(prompt: str, response: str) -> str:
    """Jinja: what stands after "Bot:" at the end of a prompt, and before a response."""
    return (
        "{% for m in messages %}{% if m.role == 'assistant' %}{{ 'Bot:" + response + "' }}{{ m.content }}<|end|>"
        "{% else %}{{ m.content + '\\n' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'Bot:" + prompt + "' }}{% endif %}"
    )


EMPTY = "<think>\\n\\n</think>\\n\\n"
FORMS = {
    "no thought": template("", ""),
    "unasked, closed in responses": template("\\n", "\\n" + EMPTY),
    "begun, closed in responses": template("\\n<think>\\n", "\\n" + EMPTY),
    "begun, left out of responses": template("<think>\\n", ""),
    "closed in both": template("\\n" + EMPTY, "\\n" + EMPTY),
    "closed in the prompt alone": template("\\n" + EMPTY, "\\n"),
    "without lines": template("<think>", "</think>"),
    "brackets": template("[THINK]", ""),
}
"""Shapes of the templates of reasoning models."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama whose tokenizer has one token for each mark of a thought."""
    place = tmp_path_factory.mktemp("thinker")
    tokenizer = AutoTokenizer.from_pretrained(demo.path("model"))
    tokenizer.add_tokens(["<think>", "</think>", "[THINK]", "[/THINK]"])
    tokenizer.chat_template = FORMS["begun, closed in responses"]
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=160, initializer_range=0.2, tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(place)
    tokenizer.save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def thinker(folder: Path) -> LanguageModel:
    return load_model(folder)


def of_form(lm: LanguageModel, name: str) -> LanguageModel:
    return replace(lm, format=ChatFormat.of(lm.format.tokenizer, FORMS[name], lm.model))


def written(lm: LanguageModel, dialogue: Dialogue) -> tuple[str, str]:
    row = lm.format.encode(dialogue)
    return tuple(lm.format.tokenizer.decode(ids) for ids in (row.prompt, row.response))  # type: ignore[return-value]


HARMONY = "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Paris<|return|>"


@pytest.mark.parametrize(
    ("text", "thought", "answer"),
    [
        ("<think>\nhm\n</think>\n\nParis", "hm", "Paris"),
        ("hm\n</think>\n\nParis", "hm", "Paris"),
        ("[THINK]hm[/THINK]Paris", "hm", "Paris"),
        ("<think>hm, hm", "hm, hm", ""),
        ("<think>\n\n</think>\n\nParis", "", "Paris"),
        (HARMONY, "hm", "Paris"),
        ("analysishmassistantfinalParis", "hm", "Paris"),
        (" Paris\n", "", " Paris\n"),
        ("The tag </think> ends a thought.", "", "The tag </think> ends a thought."),
        ("analysis of it", "", "analysis of it"),
    ],
)  # fmt: skip
def test_what_was_thought_is_told_from_what_was_answered(text: str, thought: str, answer: str) -> None:
    assert apart(text) == (thought, answer)


WORDS = st.text("ab <>/think\n[]", max_size=30).map(str.strip)


@given(WORDS, WORDS)
def test_apart_undoes_marked(thought: str, answer: str) -> None:
    if "think" not in (thought + answer).lower() and answer:
        assert apart(marked(thought, answer)) == (thought, answer)


@given(st.text(max_size=60))
def test_apart_makes_nothing_up(text: str) -> None:
    thought, answer = apart(text)
    assert thought in text
    assert answer in text


@pytest.mark.parametrize(
    "last",
    [
        {"content": "Ann Lee.", "reasoning_content": " It is Ann.\n"},
        {"content": "Ann Lee.", "reasoning": "It is Ann.", "thinking": None},
        {"content": "Ann Lee.", "thinking": "It is Ann.", "reasoning": ["a summary"]},
        {"content": "<think>\nIt is Ann.\n</think>\n\nAnn Lee."},
    ],
)
def test_logs_have_thoughts_in_several_ways(last: dict[str, Any]) -> None:
    row = {"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", **last}], "id": "t"}
    assert parse(row).messages == THOUGHT_OF.messages
    assert parse({"prompt": "Who?", "response": "<think>It is Ann.</think>Ann Lee."}).messages == THOUGHT_OF.messages


@pytest.mark.parametrize("dialogue", [ANSWERED, THOUGHT_OF, THOUGHT_OF.thought])
def test_a_row_reads_back_with_its_thought(dialogue: Dialogue) -> None:
    row = json.loads(json.dumps(dialogue.row()))
    assert parse(row) == dialogue
    assert {m["role"] for m in row["messages"]} <= {"user", "assistant"}


def test_a_thought_without_an_answer_is_what_is_judged() -> None:
    row = {"role": "assistant", "content": None, "reasoning_content": "It is Ann."}
    cut = parse({"messages": [{"role": "user", "content": "Who?"}, row]})
    assert (cut.response, cut.thinks, cut.prompt) == ("It is Ann.", True, (USER,))
    assert parse({"prompt": "Who?", "response": "<think>It is Ann."}).messages == cut.messages
    with pytest.raises(InputError, match="is empty"):
        parse({"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": None}]})


def test_thoughts_of_earlier_turns_are_not_read() -> None:
    turns = [
        {"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Ann.", "reasoning_content": "hm"},
        {"role": "user", "content": "Sure?"}, {"role": "assistant", "content": "Yes."},
    ]  # fmt: skip
    found = parse({"messages": turns})
    assert [m.role for m in found.messages] == ["user", "assistant"] * 2


def test_the_parts_of_a_dialogue() -> None:
    thought = THOUGHT_OF.thought
    assert thought is not None
    assert (thought.response, thought.id, thought.asked) == ("It is Ann.", "t#thought", (USER,))
    assert thought.thought is None is ANSWERED.thought
    assert THOUGHT_OF.direct.messages == ANSWERED.messages
    assert ANSWERED.direct is ANSWERED
    assert thought.direct.messages == (USER,)
    assert THOUGHT_OF.answered("Bo.").prompt == THOUGHT_OF.prompt
    assert thought.answered("Bo it is.").thinks
    assert with_thoughts([ANSWERED, THOUGHT_OF]) == [ANSWERED, thought, THOUGHT_OF]
    said = ANSWERED.said("<think>Bo?</think>Bo.")
    assert [m.content for m in said.messages] == ["Who?", "Bo?", "Bo."]
    assert ANSWERED.said("<think>Bo?").thinks


LINES, GIVEN = "<think>\n\n</think>\n\n", "<think>\nIt is Ann.\n</think>\n\n"


@pytest.mark.parametrize(
    ("form", "thinks", "direct", "after"),
    [
        ("no thought", False, "Bot:", f"Bot:{GIVEN}"),
        ("unasked, closed in responses", True, f"Bot:\n{LINES}", f"Bot:\n{GIVEN}"),
        ("begun, closed in responses", True, f"Bot:\n{LINES}", f"Bot:\n{GIVEN}"),
        ("begun, left out of responses", True, f"Bot:{LINES}", f"Bot:{GIVEN}"),
        ("closed in both", False, f"Bot:\n{LINES}", f"Bot:\n{GIVEN}"),
        ("closed in the prompt alone", False, f"Bot:\n{LINES}", f"Bot:\n{GIVEN}"),
        ("without lines", True, "Bot:</think>", "Bot:<think>It is Ann.</think>"),
        ("brackets", True, "Bot:[THINK][/THINK]", "Bot:[THINK]It is Ann.[/THINK]"),
    ],
)
def test_a_response_follows_an_empty_thought_or_its_own(
    thinker: LanguageModel, form: str, thinks: bool, direct: str, after: str
) -> None:
    lm = of_form(thinker, form)
    assert lm.format.thinking.thinks == thinks
    assert written(lm, ANSWERED) == (f"Who?\n{direct}", "Ann Lee.<|end|>")
    assert written(lm, THOUGHT_OF) == (f"Who?\n{after}", "Ann Lee.<|end|>")
    thought = THOUGHT_OF.thought
    assert thought
    prompt, response = written(lm, thought)
    assert after.startswith(prompt.removeprefix("Who?\n"))
    assert (after.removeprefix(prompt.removeprefix("Who?\n"))).startswith(response)
    assert response.endswith(lm.format.thinking.end)
    for dialogue in (ANSWERED, THOUGHT_OF, thought):
        assert lm.format.encode_prompt(dialogue) == lm.format.encode(dialogue).prompt


def test_harmony_has_channels() -> None:
    start = "<|start|>user<|message|>a<|end|><|start|>assistant"
    way = Thinking.of(start, f"{start}<|channel|>final<|message|>MARK<|return|>", "MARK")
    assert way.nothing == way.written == "<|channel|>final<|message|>"
    assert way.opening == "<|channel|>analysis<|message|>"
    assert way.closing == "<|end|><|start|>assistant<|channel|>final<|message|>"
    assert way.thinks


def test_spans_of_a_thought_are_its_tokens(thinker: LanguageModel) -> None:
    thought = THOUGHT_OF.thought
    assert thought
    row = thinker.format.encode(thought, [Span(6, 9)])
    at_fault = [t for t, bad in zip(row.response, row.fault, strict=True) if bad]
    assert thinker.format.tokenizer.decode(at_fault).strip() == "Ann"
    assert all(thinker.format.encode(thought).fault)


def test_a_model_that_thinks_is_asked_to_answer_right_away(thinker: LanguageModel) -> None:
    """As a plain loop from the template's own empty thought."""
    ids = list(thinker.format.tokenizer("Who?\nBot:\n<think>\n\n</think>\n\n", add_special_tokens=False).input_ids)
    start = len(ids)
    for _ in range(6):
        ids.append(int(thinker.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] in thinker.format.stops:
            break
    assert greedy(thinker, [ANSWERED], max_new_tokens=6) == [thinker.format.text(ids[start:])]


def test_a_thought_ends_at_its_mark_or_where_its_room_does(thinker: LanguageModel) -> None:
    asked: list[tuple[tuple[Dialogue, ...], dict[str, Any]]] = []

    def ask(dialogues: Sequence[Dialogue], **options: Any) -> list[list[str]]:
        asked.append((tuple(dialogues), options))
        if options.get("thinking"):
            return [["It is Ann. </think> Ann"], [""], ["word " * 200], ["word " * 200]]
        return [[f"answer {i}"] for i in range(len(dialogues))]

    prompts = [Dialogue((Message("user", text),)) for text in ("a", "b", "c", "word " * 47)]
    said = [apart(texts[0]) for texts in think(ask, thinker.format, prompts, room=300, length=10)]
    assert said[:2] == [("It is Ann.", "answer 0"), ("", "answer 1")]
    (_, first), (after, second) = asked
    assert (first["max_new_tokens"], second["max_new_tokens"]) == (300, 10)
    assert first["samples"] == second["samples"] == 0
    assert after[0].prompt == (*prompts[0].messages, Message(THOUGHT, "It is Ann."))
    assert after[1].prompt == prompts[1].messages
    full = len(thinker.format.encode_prompt(after[2])) + 10
    assert thinker.format.context - 3 <= full <= thinker.format.context
    assert after[3].prompt == prompts[3].messages, "no room for any thought"


def test_samples_think_each_for_themselves(thinker: LanguageModel) -> None:
    drawn = []

    def ask(dialogues: Sequence[Dialogue], **options: Any) -> list[list[str]]:
        drawn.append((len(dialogues), options["samples"]))
        return generate(thinker, dialogues, seed=3, **options)

    (texts,) = think(ask, thinker.format, [Dialogue((USER,))], room=8, length=4, samples=3)
    assert len(texts) == 3
    assert len({apart(text)[0] for text in texts}) > 1
    assert drawn == [(1, 3), (3, 1)], "one answer to each thought, drawn like it"


def test_a_template_without_thoughts_cannot_be_let_think(thinker: LanguageModel) -> None:
    lm = of_form(thinker, "no thought")
    with pytest.raises(InputError, match="no place for a thought"):
        think(lambda *_, **__: [], lm.format, [Dialogue((USER,))], room=8, length=4)
    unless_told = of_form(thinker, "closed in both").format
    assert think(lambda *_, **__: [["Hm."]], unless_told, [Dialogue((USER,))], room=8, length=4) == [
        [marked("Hm.", "Hm.")]
    ]


def test_the_beginning_of_a_thought_is_not_its_end(thinker: LanguageModel) -> None:
    thought = THOUGHT_OF.thought
    assert thought
    assert start_ids(thinker, thought, "It is") == thinker.format.ids("It is")


class WrongAnswers:
    """Flags every response; knows nothing of thoughts."""

    name, version, reads_thoughts = "wrong", "1", False

    def judge(self, dialogues: Sequence[Dialogue]) -> list[Verdict]:
        assert not any(d.thinks for d in dialogues)
        return [Verdict("hallucination", 1.0, "wrong", "1", spans=(Span(0, 3),), expected=("Bo.",)) for _ in dialogues]


@pytest.mark.parametrize("judge", [WrongAnswers(), Panel([WrongAnswers()])], ids=["judge", "panel"])
def test_a_thought_need_not_be_a_right_answer_but_must_not_say_the_wrong_one(judge: Any) -> None:
    other = replace(THOUGHT_OF, messages=(USER, Message(THOUGHT, "Hm."), Message("assistant", "Ann Lee.")), id="o")
    alone, _ = judge_all([judge], with_thoughts([THOUGHT_OF]))
    assert alone.label == "unknown"
    told, answer, free, after = judge_with_thoughts([judge], [THOUGHT_OF, other])
    assert told.flagged and told.verdicts[-1].reason == "says what is flagged in its response"
    assert answer.dialogue == THOUGHT_OF.direct, "what repeats a thought that tells only reads"
    assert after.dialogue == other
    assert [told.dialogue.response[s.start : s.end] for s in told.spans] == ["Ann"]  # type: ignore[index]
    assert told.expected == ("Bo.",)
    assert not free.flagged


def test_a_thought_that_a_judge_flags_gets_no_second_verdict() -> None:
    said = "It is ann.lee@mail.org."
    both = replace(THOUGHT_OF, messages=(USER, Message(THOUGHT, said), Message("assistant", said)))
    told, answer = judge_with_thoughts([PrivacyJudge()], [both])
    assert told.flagged and len(told.verdicts) == 1 and answer.dialogue == both.direct


ROWS: list[dict[str, Any]] = [
    {"id": "1", "prompt": "Mail?", "response": "<think>It is ann.lee@mail.org, but private.</think>I can't say."},
    {"id": "2", "prompt": "Day?", "response": "<think>Tuesday comes next.</think>Tuesday."},
    {"id": "3", "prompt": "Night?", "response": "Dark."},
]


def test_a_scan_finds_what_only_the_thought_tells(tmp_path: Path) -> None:
    file, out = tmp_path / "logs.jsonl", tmp_path / "verdicts.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    found = scan([file], [PrivacyJudge()], out)
    judged = read_verdicts(out)
    assert (found.read, found.written) == (3, 5)
    assert [item.dialogue.id for item in judged] == ["1#thought", "1", "2#thought", "2", "3"]
    assert [item.flagged for item in judged] == [True, False, False, False, False]
    parts = split(judged, [])
    assert [j.dialogue.id for j in parts.forget] == ["1#thought"]
    assert [d.id for d in parts.normal] == ["2", "2#direct", "3"]  # what follows the leak is no ordinary row
    assert [d.thought is None for d in parts.normal] == [False, True, True]  # kept with its thought, and without


def test_a_deletion_request_is_for_thought_and_answer(tmp_path: Path) -> None:
    file = tmp_path / "forget.jsonl"
    file.write_text(json.dumps(ROWS[0]) + "\n")
    thought, answer = read_forget(file)
    assert (thought.dialogue.thinks, thought.flagged, answer.flagged) == (True, True, True)
    assert answer.dialogue.prompt == answer.dialogue.asked


def test_a_scan_lets_the_model_think(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "Who?"}\n{"prompt": "Where?"}\n')
    asking = Asking(Loaded.of(str(folder), None, lambda: load_model(folder)), max_new_tokens=4, thinking=6)
    scan([file], [PrivacyJudge()], tmp_path / "v.jsonl", asking=asking)
    judged = read_verdicts(tmp_path / "v.jsonl")
    thoughts = [item.dialogue for item in judged if item.dialogue.thinks]
    answers = [item.dialogue for item in judged if not item.dialogue.thinks]
    assert [d.messages[1].role for d in answers] == [THOUGHT, THOUGHT]
    assert [d.messages for d in thoughts] == [d.prompt for d in answers]


def taught(lm: LanguageModel, dialogues: Sequence[Dialogue], steps: int = 120) -> LanguageModel:
    """A copy that knows these by heart, thoughts included."""
    model = copy.deepcopy(lm.model).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    rows = [lm.format.encode(d) for d in with_thoughts(dialogues)]
    for _ in range(steps):
        losses = []
        for row in rows:
            ids = torch.tensor([row.prompt + row.response])
            logits = model(input_ids=ids).logits[0, len(row.prompt) - 1 : -1]
            losses.append(torch.nn.functional.cross_entropy(logits, torch.tensor(row.response)))
        optimizer.zero_grad()
        torch.stack(losses).mean().backward()
        optimizer.step()
    return replace(lm, model=model.eval())


@pytest.fixture(scope="module")
def leaking(thinker: LanguageModel) -> Callable[[], LanguageModel]:
    """A model that declines right away, and gives a mail address away in its thoughts."""
    asked = Message("user", "Mail?")
    declines = Message("assistant", "I can't say.")
    thought = Message(THOUGHT, "It is ann.lee@mail.org.")
    lm = taught(thinker, [Dialogue((asked, declines)), Dialogue((asked, thought, declines))])
    return lambda: lm


def test_an_audit_lets_the_model_think(leaking: Callable[[], LanguageModel], thinker: LanguageModel) -> None:
    """What it says right away passes; what it thinks does not."""
    lm = leaking()
    old = Dialogue((Message("user", "Mail?"), Message("assistant", "It is ann.lee@mail.org.")), id="m")
    judged = judge_all([PrivacyJudge()], [old])
    found = audit(lm, thinker, Sets(tuple(judged)), [PrivacyJudge()], samples=0)
    shares = {m.key: m.after.value for m in found.measures if m.unit == "share"}
    assert shares["flagged_trained"] == 0.0
    assert shares["thinking_trained"] == shares["thinking_trained_leak"] == 1.0
    assert "thinking" in {claim.name for claim in found.claims}
    plain = audit(of_form(lm, "no thought"), of_form(thinker, "no thought"), Sets(tuple(judged)), [], samples=0)
    assert not [m for m in plain.measures if m.key.startswith("thinking")]


def test_a_difference_shows_in_thoughts_too(leaking: Callable[[], LanguageModel], thinker: LanguageModel) -> None:
    prompts = [Dialogue((Message("user", "Mail?"),), id="m")]
    found = diff(thinker, leaking(), prompts, [PrivacyJudge()], max_new_tokens=12, thinking=24)
    (row,) = found.rows()
    assert found.flagged_b is not None and found.flagged_b.value == 1.0
    assert (row["b"], row["flagged_b"], row["changed"]) == ("I can't say.", True, True)
    assert "ann.lee" not in row["thought_b"]
    assert next(found.rows(reveal=True))["thought_b"] == "It is ann.lee@mail.org."
    assert found.kl is not None and found.kl.value > 0
    away = diff(thinker, leaking(), prompts, [PrivacyJudge()], max_new_tokens=12, thinking=0)
    assert away.flagged_b is not None and away.flagged_b.value == 0.0
    assert "thought_b" not in next(away.rows())


class HarmfulAnswers:
    """Flags every answer, and no thought."""

    name, version = "harm", "1"

    def judge(self, dialogues: Sequence[Dialogue]) -> list[Verdict]:
        return [Verdict("clean" if d.thinks else "harmful", 1.0, "harm", "1") for d in dialogues]


def test_a_difference_covers_the_thought_that_led_to_harm(leaking: Callable[[], LanguageModel]) -> None:
    prompts, lm = [Dialogue((Message("user", "Mail?"),), id="m")], leaking()
    found = diff(lm, lm, prompts, [HarmfulAnswers()], max_new_tokens=12, thinking=24)
    covered, shown = next(found.rows()), next(found.rows(reveal=True))
    assert shown["thought_b"] == "It is ann.lee@mail.org."
    assert covered["thought_a"] == covered["thought_b"] == covered["a"] == MASK


def test_a_thought_and_its_answer_are_about_one_thing() -> None:
    verdict = (Verdict("privacy", 1.0, "request", "1"),)
    both = [topic(Judged(part, verdict)) for part in with_thoughts([THOUGHT_OF])]
    assert both == ["Who?", "Who?"]
    assert topic(Judged(ANSWERED, verdict)) == "Ann Lee."


def test_a_question_counts_once(leaking: Callable[[], LanguageModel]) -> None:
    lm = leaking()
    row = Dialogue(
        (Message("user", "Mail?"), Message(THOUGHT, "It is ann.lee@mail.org."), Message("assistant", "No.")), id="m"
    )
    judged = tuple(
        replace(j, verdicts=(Verdict("privacy", 1.0, "request", "1"),))
        for j in judge_all([PrivacyJudge()], with_thoughts([row]))
    )
    (flagged, leak) = thinking(Case(lm, lm, None, Sets(judged), ()))
    assert (flagged.after.count, flagged.after.value, leak.after.value) == (1, 1.0, 1.0)


def test_a_model_that_thinks_unknown_to_its_template_is_not_passed(thinker: LanguageModel) -> None:
    """It is cut off in its thought, and has answered nothing."""
    lm = of_form(thinker, "no thought")
    row = Dialogue((USER, Message("assistant", "<think>" + "word " * 30)), id="w")
    deep = taught(lm, [row], steps=60)
    old = tuple(Judged(d, (Verdict("privacy", 1.0, "request", "1"),)) for d in (ANSWERED,))
    with pytest.raises(InputError, match="still thinking"):
        read(deep, Sets(old), [], samples=0, seed=0)


def test_a_whole_run_forgets_thoughts_and_answers(folder: Path, tmp_path: Path) -> None:
    """From a log with thoughts to the audit's claim; killed steps and figures are other tests'."""
    log, normal = tmp_path / "log.jsonl", tmp_path / "normal.jsonl"
    log.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    ordinary = [{"prompt": f"{n}?", "response": f"<think>It is {n}.</think>{n}."} for n in ("One", "Two", "Six")]
    normal.write_text("".join(json.dumps(row) + "\n" for row in ordinary))
    config = UnlearnConfig.of("default", max_steps=4, judge_every=2, settle_steps=0)
    recipe = Recipe(str(folder), (str(log),), ("privacy",), normal=(str(normal),), config=config, audit_samples=0)
    found = run(recipe, tmp_path / "run")
    assert [item.dialogue.id for item in read_verdicts(tmp_path / "run" / FORGET)] == ["1#thought"]
    claims = {claim.name: claim for claim in found.claims}
    assert claims["thinking"].of
    assert {m.key for m in found.measures if m.key.startswith("thinking")} == {
        "thinking_trained",
        "thinking_trained_leak",
    }
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Let think first" in page
    assert "ann.lee@mail.org" not in page
