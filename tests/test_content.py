"""Messages as OpenAI logs them: texts in parts, developers, calls of tools; and what of them a chat template shows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from expunge.audit.rewrites import asked
from expunge.dialogue import Dialogue, parse
from expunge.encoding import ChatFormat
from expunge.errors import InputError
from expunge.judges.guards.prompt import turns_of
from expunge.message import Message
from expunge.model import LanguageModel

USER, REPLY = {"role": "user", "content": "Who is Ann?"}, {"role": "assistant", "content": "Our customer."}
FUNCTION = {"name": "look_up", "arguments": '{"name": "Ann"}'}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": FUNCTION}]}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": '{"customer": true}'}
TOOLS = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]
ROW = {"messages": [USER, CALL, RESULT, REPLY], "tools": TOOLS}
SECRET = "secret"

SHOWING = (
    "{% for t in tools or [] %}<tool>{{ t.function.name }}\n{% endfor %}"
    "{% for m in messages %}<|user|>{{ m.role }}\n"
    "{% for c in m.tool_calls or [] %}<call>{{ c.function.name }} {{ c.function.arguments.items() | list }}{% endfor %}"
    "{{ m.content }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|user|>assistant\n{% endif %}"
)
HIDING = SHOWING.replace("<call>{{ c.function.name }}", "<call>")


def parts(*texts: str, kind: str = "text") -> list[dict[str, Any]]:
    return [{"type": kind, "text": text, "image_url": None} for text in texts]


def test_texts_in_parts_are_joined_by_line_breaks() -> None:
    row = {
        "messages": [{**USER, "content": parts("Who", "is it?")}, {**REPLY, "content": parts("A.", kind="output_text")}]
    }
    assert parse(row).messages == (Message("user", "Who\nis it?"), Message("assistant", "A."))


def test_a_developer_is_read_as_the_system() -> None:
    assert parse({"messages": [{"role": "developer", "content": "Be brief."}, USER]}).messages[0].role == "system"


def test_keys_that_are_not_read_change_nothing() -> None:
    more = {"name": "u1", "refusal": None, "tool_calls": None, "annotations": [], "function_call": None}
    assert parse({"messages": [USER | more, REPLY | more], "tools": [], "model": "x"}) == parse(
        {"messages": [USER, REPLY]}
    )


def test_calls_of_tools_are_kept_and_written_as_they_were() -> None:
    dialogue = parse(ROW)
    assert (dialogue.question, dialogue.response, len(dialogue.prompt)) == ("Who is Ann?", "Our customer.", 3)
    row = json.loads(json.dumps(dialogue.row()))
    assert row["tools"] == TOOLS
    assert row["messages"] == [USER, {**CALL, "content": ""}, RESULT, REPLY]
    assert parse(row) == dialogue
    assert dialogue.content_id != Dialogue(tuple(Message(m.role, m.content) for m in dialogue.messages)).id


@pytest.mark.parametrize(
    "call",
    [
        {"id": "c1", "function": {"name": "look_up", "arguments": {"name": "Ann"}}},
        {"id": "c1", "name": "look_up", "arguments": {"name": "Ann"}, "type": None},
    ],
)
def test_calls_as_hugging_face_writes_them(call: dict[str, Any]) -> None:
    called = {"role": "assistant", "tool_calls": [call]}
    assert parse({"messages": [USER, called, RESULT, REPLY], "tools": json.dumps(TOOLS)}) == parse(ROW)


def test_a_tool_may_say_nothing_and_a_dialogue_end_with_it() -> None:
    dialogue = parse({"messages": [USER, CALL, {**RESULT, "content": ""}, {**RESULT, "tool_call_id": "c2"}]})
    assert dialogue.response is None and len(dialogue.prompt) == 4


@pytest.mark.parametrize(
    ("messages", "fault"),
    [
        (
            [{**USER, "content": [*parts("x"), {"type": "image_url", "image_url": {"url": SECRET}}]}],
            "of type 'image_url'",
        ),
        ([{**USER, "content": [{"type": SECRET * 9, "text": SECRET}]}], "content of message 1 has a part that is no"),
        ([{**USER, "content": [SECRET]}], "a part that is no text"),
        ([{**USER, "content": []}], "content of message 1' is empty"),
        ([USER, {**REPLY, "content": None}], "content of message 2' is empty"),
        ([USER, CALL], "the last message calls a tool"),
        ([USER, {**CALL, "content": SECRET}], "the last message calls a tool"),
        ([USER, CALL, REPLY], r"out of order \(user, call, assistant\)"),
        ([USER, RESULT, REPLY], r"out of order \(user, tool, assistant\)"),
        ([RESULT, USER, REPLY], "out of order"),
        (
            [USER, {**CALL, "tool_calls": [{"function": {"arguments": SECRET}}]}, RESULT, REPLY],
            "without a function's name",
        ),
        ([USER, {**CALL, "tool_calls": SECRET}, RESULT, REPLY], "without a function's name"),
        ([USER, {**CALL, "tool_calls": [{"function": {"name": "\ud800"}}]}, RESULT, REPLY], "half a character"),
    ],
)
def test_what_cannot_be_read_is_said_without_quoting_it(messages: list[Any], fault: str) -> None:
    with pytest.raises(InputError, match=fault) as caught:
        parse({"messages": messages}, file="log.jsonl", line=3)
    assert str(caught.value).startswith("log.jsonl:3: ") and SECRET not in str(caught.value)


@pytest.mark.parametrize("tools", ["x", {"a": 1}, ["x"], "[1"])
def test_tools_that_are_none_are_refused(tools: Any) -> None:
    with pytest.raises(InputError, match="'tools' must be a list of tables"):
        parse({**ROW, "tools": tools})


def form(lm: LanguageModel, template: str) -> ChatFormat:
    return ChatFormat.of(lm.format.tokenizer, template, lm.model)


def test_a_template_is_given_calls_as_tables_and_the_tools(lm: LanguageModel) -> None:
    chat = form(lm, SHOWING)
    text = chat.tokenizer.decode(chat.prompt_ids(parse(ROW).prompt))
    assert "look_up [('name', 'Ann')]" in text and '{"customer": true}' in text and "<tool>look_up" in text
    assert chat.text(chat.encode(parse(ROW)).response) == "Our customer."


@pytest.mark.parametrize("template", [HIDING, "plain"])
def test_a_template_that_does_not_show_them_is_refused_such_dialogues(lm: LanguageModel, template: str) -> None:
    chat = form(lm, template)
    assert chat.encode(parse({"messages": [USER, REPLY], "tools": TOOLS}))
    with pytest.raises(InputError, match="log.jsonl:2: the chat template does not show calls of tools"):
        chat.encode(parse(ROW, file="log.jsonl", line=2))


def test_guards_read_what_user_and_assistant_say() -> None:
    roles = [turn["role"] for turn in turns_of(parse(ROW), "x", ())]
    assert roles == ["user", "assistant"]


def test_a_question_asked_otherwise_keeps_the_tools() -> None:
    other = asked(parse({"messages": [USER, REPLY], "tools": TOOLS}), "Ann?")
    assert (other.question, other.row()["tools"]) == ("Ann?", TOOLS)


def test_what_is_written_as_json_is_read() -> None:
    """As exports of warehouses have it, whose columns are texts."""
    assert parse({**ROW, "messages": json.dumps(ROW["messages"]), "tools": json.dumps(TOOLS)}) == parse(ROW)
    for none in ("null", "[]", []):
        assert parse({"messages": [USER, REPLY], "tools": none}) == parse({"messages": [USER, REPLY]})
