"""Dialogues: the Hugging Face chat format in and out, with errors that name file and line.

Rows may be written in any of three ways:

    {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}
    {"prompt": "…" or [messages], "response": "…"}        ("completion" is read as "response")
    {"question": "…", "answer": "…"}

A row that ends with a user message (or lacks its response) is a prompt: something to ask the model. Optional in every
form: "id", "expected" (a text or a list: acceptable responses), "subject" (who or what it is about), "skill".

Messages may be as OpenAI logs them: texts in parts are joined by line breaks, `developer` is read as `system`, and an
assistant's "tool_calls", the `tool` messages after them and the row's "tools" are context that the chat template shows.
Other keys are not read. What is no text (an image) is refused, and so is a dialogue that ends with a call.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from expunge.content import WORD, joined, of_tools, tools_of, unpacked
from expunge.errors import InputError
from expunge.files import digest
from expunge.sources import read_rows, unsliced

ROLES = ("system", "developer", "user", "assistant", "tool")
_ORDER = re.compile("s?(?:u(?:ct+)*a)*(?:u(?:ct+)*)?")
"""Of the first letters of the roles, `c` for an assistant's call of tools."""
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Message:
    """What one side said: `role` is one of `ROLES`, but for `developer`, which is read as `system`.

    more: what a message of OpenAI's says of tools, as JSON; the first user's has the row's `tools` too. Mostly empty.
    """

    role: str
    content: str
    more: str = ""


@dataclass(frozen=True, slots=True)
class Dialogue:
    """Messages whose last one, if it is the assistant's, is the *response* under judgement."""

    messages: tuple[Message, ...]
    id: str = ""
    expected: tuple[str, ...] = ()
    subject: str = ""
    skill: str = ""
    source: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not self.id:
            object.__setattr__(self, "id", self.content_id)

    @property
    def content_id(self) -> str:
        """Sixteen hex digits of the messages' hash: equal dialogues have equal ids."""
        return digest(*[part for m in self.messages for part in (m.role, m.content, m.more)[: 3 if m.more else 2]])[:16]

    @property
    def place(self) -> str:
        """Where it was read, or its id: what messages call it."""
        return self.source or f"dialogue {self.id}"

    @property
    def prompt(self) -> tuple[Message, ...]:
        return self.messages[:-1] if self.messages[-1].role == "assistant" else self.messages

    @property
    def response(self) -> str | None:
        last = self.messages[-1]
        return last.content if last.role == "assistant" else None

    @property
    def question(self) -> str:
        """The last user message: what the response answers."""
        return next((m.content for m in reversed(self.messages) if m.role == "user"), "")

    def answered(self, response: str) -> Dialogue:
        """The same prompt with another response; the id stays, so that answers can be joined to their dialogue."""
        return replace(self, messages=(*self.prompt, Message("assistant", response)))

    def row(self) -> dict[str, Any]:
        """The JSON row of this dialogue; `parse` reads it back unchanged."""
        chat, tools = as_openai(self.messages)
        row: dict[str, Any] = {"id": self.id, "messages": chat}
        if tools:
            row["tools"] = tools
        if self.expected:
            row["expected"] = list(self.expected)
        if self.subject:
            row["subject"] = self.subject
        if self.skill:
            row["skill"] = self.skill
        return row


def as_openai(messages: Sequence[Message]) -> tuple[list[dict[str, Any]], list[Any] | None]:
    """Messages as OpenAI's API and chat templates take them, and the tools that may be called."""
    chat = [{"role": m.role, "content": m.content, **(json.loads(m.more) if m.more else {})} for m in messages]
    offered = [m.pop("tools") for m in chat if "tools" in m]
    return chat, offered[0] if offered else None


def parse(row: Mapping[str, Any], *, file: str | Path = "row", line: int | None = None) -> Dialogue:
    """Read one row.

    Raises:
        InputError: a field is missing, a role is unknown, roles are out of order, or a text is empty or not a text.
    """
    where = _Where(file, line)
    messages = _messages(row, where)
    _check_roles(messages, where)
    return Dialogue(
        messages=_with_tools(messages, row.get("tools"), where),
        id=_identity(row.get("id"), where),
        expected=_texts(row.get("expected"), "expected", where),
        subject=where.optional(row.get("subject"), "subject"),
        skill=where.optional(row.get("skill"), "skill"),
        source=f"{file}:{line}" if line is not None else str(file),
    )


@dataclass(frozen=True, slots=True)
class _Where:
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


def _identity(value: Any, where: _Where) -> str:
    return where.optional(str(value) if type(value) is int else value, "id")


_ANSWERED = ("response", "completion")


def _messages(row: Mapping[str, Any], where: _Where) -> tuple[Message, ...]:
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
            return *head, Message("assistant", where.text(row[answered], answered))
    return head


def _message_list(value: Any, name: str, where: _Where) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        raise where.error(f"{name!r} must be a list of at least one message")
    messages = []
    for number, item in enumerate(value, start=1):
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
        # a call needs no words, and a tool may have nothing to say
        text = where.optional(content, whose) if more or role == "tool" else where.text(content, whose)
        messages.append(Message(role, text, where.as_json(more, which) if more else ""))
    return tuple(messages)


def _with_tools(messages: tuple[Message, ...], value: Any, where: _Where) -> tuple[Message, ...]:
    tools = tools_of(value, where.error) if value else []
    if not tools:
        return messages
    first = next(i for i, m in enumerate(messages) if m.role == "user")
    more = where.as_json({"tools": tools}, "'tools'")
    return (*messages[:first], replace(messages[first], more=more), *messages[first + 1 :])


def _check_roles(messages: Sequence[Message], where: _Where) -> None:
    roles = ["call" if m.role == "assistant" and m.more else m.role for m in messages]
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


def _texts(value: Any, name: str, where: _Where) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        raise where.error(f"{name!r} must be a text or a list of texts, not {type(value).__name__}")
    return tuple(where.text(item, name) for item in value)


def read_dialogues(source: str | Path) -> list[Dialogue]:
    """All dialogues of a file, or of a `datasets` name; see `sources.stream_rows`.

    Raises:
        InputError: no such file, an empty one, or a bad row (file and line named); ids used twice for different text.
    """
    file, _ = unsliced(source)
    dialogues = [parse(row, file=file, line=line) for line, row in read_rows(source)]
    check_ids(dialogues)
    return dialogues


def check_ids(dialogues: Iterable[Dialogue]) -> None:
    """Raise InputError if one id stands for two different dialogues."""
    seen: dict[str, Dialogue] = {}
    for dialogue in dialogues:
        first = seen.setdefault(dialogue.id, dialogue)
        if first.messages != dialogue.messages:
            raise InputError(
                f"{dialogue.source}: the id {dialogue.id!r} is used for another dialogue at {first.source}",
                remedy="Give each dialogue its own id, or leave the ids out.",
            )
