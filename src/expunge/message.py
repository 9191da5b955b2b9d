"""Messages: what a row says of who said what, thought and called, in and out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from expunge.content import WORD, joined, of_tools, tools_of, unpacked
from expunge.errors import InputError
from expunge.thought import apart, has_thought

ROLES = ("system", "developer", "user", "assistant", "tool")
_SAID = ("user", "assistant")
_ORDER = re.compile("s?(?:u(?:ct+)*a)*(?:u(?:ct+)*)?")
"""Of the first letters of the roles, `c` for an assistant's call of tools."""
THOUGHT = "thought"
"""The role of what the assistant thinks before it answers: the last message, or the last but one."""
THOUGHTS = ("reasoning_content", "reasoning", "thinking")
"""Where an assistant's message may hold it."""
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Message:
    """What one side said: `role` is one of `ROLES`, but for `developer`, which is read as `system`; or `THOUGHT`.

    more: what a message of OpenAI's says of tools, as JSON; the first user's has the row's `tools` too. Mostly empty.
    """

    role: str
    content: str
    more: str = ""


def as_openai(messages: Sequence[Message]) -> tuple[list[dict[str, Any]], list[Any] | None]:
    """Messages as OpenAI's API and chat templates take them, and the tools that may be called.

    A thought is a field of the assistant's message.
    """
    if not any(m.more or m.role == THOUGHT for m in messages):  # nearly always
        return [{"role": m.role, "content": m.content} for m in messages], None
    chat = [{"role": m.role, "content": m.content, **(json.loads(m.more) if m.more else {})} for m in messages]
    if place := next((i for i, m in enumerate(messages) if m.role == THOUGHT), None):
        answer = chat[place + 1]["content"] if place + 1 < len(chat) else None
        chat[place:] = [{"role": "assistant", "content": answer, "reasoning_content": messages[place].content}]
    offered = [m.pop("tools") for m in chat if "tools" in m]
    return chat, offered[0] if offered else None


@dataclass(frozen=True, slots=True)
class Where:
    """Where a row stands, for errors about it."""

    file: str | Path
    line: int | None

    def error(self, message: str, remedy: str = "") -> InputError:
        return InputError(message, file=self.file, line=self.line, remedy=remedy)

    def text(self, value: Any, name: str) -> str:
        text = self.optional(value, name)
        if not text or text.isspace():
            raise self.error(f"{name!r} is empty", "Remove the row, or give it a text.")
        return text

    def as_json(self, value: Any, name: str) -> str:
        try:
            return self.optional(json.dumps(value, ensure_ascii=False), name)
        except (TypeError, ValueError, RecursionError):
            raise self.error(f"{name} cannot be written as JSON") from None

    def optional(self, value: Any, name: str) -> str:
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.error(f"{name!r} must be a text, not {type(value).__name__}")
        if not value.isascii() and _SURROGATE.search(value):
            raise self.error(f"{name!r} holds half a character (a lone surrogate)", "Write it again as UTF-8.")
        return value


_ANSWERED = ("response", "completion")


def messages_of(row: Mapping[str, Any], where: Where) -> tuple[Message, ...]:
    """The messages of a row in any of the forms of `expunge.dialogue`.

    Raises:
        InputError: a field is missing, a role is unknown, roles are out of order, or a text is empty or not a text.
    """
    messages = _messages(row, where)
    _check_roles(messages, where)
    return _with_tools(messages, row.get("tools"), where)


def _messages(row: Mapping[str, Any], where: Where) -> tuple[Message, ...]:
    asked = next((name for name in ("messages", "prompt", "question") if row.get(name) is not None), None)
    if asked is None:
        found = ", ".join(sorted(name for name in map(str, row) if WORD.fullmatch(name))) or "no fields known"
        remedy = f'Give "messages", or "prompt" and "response", or "question" and "answer"; found: {found}.'
        raise where.error("no dialogue in this row", remedy)
    prompt = unpacked(row[asked]) if asked == "messages" else row[asked]
    if isinstance(prompt, list) or asked == "messages":
        head = _message_list(prompt, asked, where)
    else:
        head = (Message("user", where.text(prompt, asked)),)
    if asked == "messages" and head[-1].role == "assistant":
        return head
    for answered in ("answer", *_ANSWERED) if asked == "question" else (*_ANSWERED, "answer"):
        if row.get(answered) is not None:  # by whichever name: a response overlooked would be asked for anew
            return *head, *_reply(row[answered], answered, "", where)
    return head


def _message_list(value: Any, name: str, where: Where) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        raise where.error(f"{name!r} must be a list of at least one message")
    messages = list[Message]()
    for number, item in enumerate(value, start=1):
        if type(item) is dict and len(item) == 2 and item.get("role") in _SAID and type(item.get("content")) is str:
            text = where.text(item["content"], f"content of message {number}")  # nearly all are so
            if item["role"] == "user" or number < len(value) or not has_thought(text):
                messages.append(Message(item["role"], text))
                continue
        which = f"message {number} of {name!r}"
        if not isinstance(item, Mapping) or "role" not in item or not ("content" in item or item.get("tool_calls")):
            raise where.error(f"{which} lacks 'role' or 'content'")
        if item["role"] not in ROLES:
            word = isinstance(item["role"], str) and WORD.fullmatch(item["role"])
            fault = f"the role {item['role']!r}" if word else "a role that is no word"
            raise where.error(f"message {number} has {fault}", f"Known roles: {', '.join(ROLES)}.")
        role = "system" if item["role"] == "developer" else item["role"]
        more = of_tools(item, which, where.error)
        content, whose = item.get("content"), f"content of message {number}"
        if isinstance(content, list):
            content = joined(content, whose, where.error)
        if role == "assistant" and number == len(value) and not more:
            messages += _reply(content, whose, _reasoning(item), where)
            continue
        # a call needs no words, and a tool may have nothing to say
        text = where.optional(content, whose) if more or role == "tool" else where.text(content, whose)
        messages.append(Message(role, text, where.as_json(more, which) if more else ""))
    return tuple(messages)


def _reasoning(message: Mapping[str, Any]) -> str:
    """Under whichever name; some have lists of summaries under one of them, which are left aside."""
    found = (message.get(name) for name in THOUGHTS)
    return next((text.strip() for text in found if isinstance(text, str) and text.strip()), "")


def _reply(value: Any, name: str, thought: str, where: Where) -> list[Message]:
    """The assistant's last message: its thought, if it has one, and its answer, if it came to one."""
    text = where.optional(value, name)
    within, answer = apart(text) if text else ("", "")
    thoughts = [Message(THOUGHT, where.optional(t, name)) for t in (thought or within,) if t]
    return thoughts if thoughts and not answer else [*thoughts, Message("assistant", where.text(answer, name))]


def _with_tools(messages: tuple[Message, ...], value: Any, where: Where) -> tuple[Message, ...]:
    tools = tools_of(value, where.error) if value else []
    if not tools:
        return messages
    first = next(i for i, m in enumerate(messages) if m.role == "user")
    more = where.as_json({"tools": tools}, "'tools'")
    return (*messages[:first], replace(messages[first], more=more), *messages[first + 1 :])


def _check_roles(messages: Sequence[Message], where: Where) -> None:
    if [m.role for m in messages] == ["user", "assistant"] and not messages[1].more:
        return  # nearly always
    roles = ["call" if m.role == "assistant" and m.more else m.role for m in messages if m.role != THOUGHT]
    if messages[-1].role == THOUGHT:
        roles.append("assistant")
    if roles[-1] == "call":
        raise where.error(
            "the last message calls a tool", "Only what is said is judged: give the answer, or remove it."
        )
    turns = roles[1:] if roles[0] == "system" else roles
    if not turns or not _ORDER.fullmatch("".join(role[0] for role in roles)):
        raise where.error(
            f"the roles are out of order ({', '.join(roles)})",
            "An optional system message, then user and assistant in turn, beginning with the user; between them calls "
            "of tools, each with the tools' messages after it.",
        )
