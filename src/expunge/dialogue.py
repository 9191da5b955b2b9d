"""Dialogues: the Hugging Face chat format in and out, with errors that name file and line.

Rows may be written in any of three ways:

    {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}
    {"prompt": "…" or [messages], "response": "…"}        ("completion" is read as "response")
    {"question": "…", "answer": "…"}

A row that ends with a user message (or lacks its response) is a prompt: something to ask the model. Optional in every
form: "id", "expected" (a text or a list: acceptable responses), "subject" (who or what it is about), "skill".

What the model thought before its response is read from <think>…</think> at the beginning of it, or from the assistant
message's "reasoning_content", "reasoning" or "thinking"; of earlier turns it is not, since models are not shown it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from expunge.errors import InputError
from expunge.files import digest
from expunge.sources import read_rows, unsliced
from expunge.thought import apart

ROLES = ("system", "user", "assistant")
THOUGHT = "thought"
"""The role of what the assistant thinks before it answers: the last message, or the last but one."""
THOUGHTS = ("reasoning_content", "reasoning", "thinking")
"""Where an assistant's message may hold it."""

WORD = re.compile(r"[A-Za-z_-]{1,24}")
"""Field names and roles that messages may quote; anything else might be dialogue text in the wrong place."""
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Message:
    """What one side said: `role` is one of `ROLES`, or `THOUGHT`."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Dialogue:
    """Messages whose last one, if it is the assistant's, is the *response* under judgement, be it a thought."""

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
        return digest(*[part for m in self.messages for part in (m.role, m.content)])[:16]

    @property
    def place(self) -> str:
        """Where it was read, or its id: what messages call it."""
        return self.source or f"dialogue {self.id}"

    @property
    def prompt(self) -> tuple[Message, ...]:
        """What the model goes on from: with its thought, where the response follows one."""
        return self.messages[:-1] if self.messages[-1].role in ("assistant", THOUGHT) else self.messages

    @property
    def asked(self) -> tuple[Message, ...]:
        """The messages as far as the user's last."""
        return tuple(m for m in self.prompt if m.role != THOUGHT)

    @property
    def response(self) -> str | None:
        last = self.messages[-1]
        return last.content if last.role in ("assistant", THOUGHT) else None

    @property
    def thinks(self) -> bool:
        """Whether the response is a thought."""
        return self.messages[-1].role == THOUGHT

    @property
    def direct(self) -> Dialogue:
        """The same without a thought: the answer, if there is one, right after what was asked."""
        if self.asked == self.prompt and not self.thinks:
            return self
        return replace(self, messages=(*self.asked, *(m for m in self.messages[-1:] if m.role == "assistant")))

    @property
    def thought(self) -> Dialogue | None:
        """The thought before the response, as a dialogue of its own, if there is one."""
        if self.thinks or self.prompt[-1].role != THOUGHT:
            return None
        return replace(self, messages=self.prompt, id=f"{self.id}#thought", expected=())

    @property
    def question(self) -> str:
        """The last user message: what the response answers."""
        return next((m.content for m in reversed(self.messages) if m.role == "user"), "")

    def answered(self, response: str) -> Dialogue:
        """The same prompt with another response; the id stays, so that answers can be joined to their dialogue."""
        return replace(self, messages=(*self.prompt, Message(THOUGHT if self.thinks else "assistant", response)))

    def after(self, thought: str) -> Dialogue:
        """What was asked, to be answered after this thought; right away, if it is empty."""
        thoughts = [Message(THOUGHT, thought)] if thought else []
        return replace(self, messages=(*self.asked, *thoughts, Message("assistant", "")))

    def said(self, text: str) -> Dialogue:
        """The same prompt with what a model wrote, which may have thought first (see `thought.apart`)."""
        thought, answer = ("", text) if self.thinks else apart(text)
        if not thought:
            return self.answered(answer)
        said = self.after(thought).answered(answer)
        return said if answer else replace(said, messages=said.prompt)

    def row(self) -> dict[str, Any]:
        """The JSON row of this dialogue; `parse` reads it back unchanged."""
        row: dict[str, Any] = {"id": self.id, "messages": _written(self.messages)}
        if self.expected:
            row["expected"] = list(self.expected)
        if self.subject:
            row["subject"] = self.subject
        if self.skill:
            row["skill"] = self.skill
        return row


def _written(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """As rows have them: a thought is a field of the assistant's message."""
    rows: list[dict[str, Any]] = [{"role": m.role, "content": m.content} for m in messages]
    if place := next((i for i, m in enumerate(messages) if m.role == THOUGHT), None):
        answer = rows[place + 1]["content"] if place + 1 < len(rows) else None
        rows[place:] = [{"role": "assistant", "content": answer, "reasoning_content": messages[place].content}]
    return rows


def parse(row: Mapping[str, Any], *, file: str | Path = "row", line: int | None = None) -> Dialogue:
    """Read one row.

    Raises:
        InputError: a field is missing, a role is unknown, roles are out of order, or a text is empty or not a text.
    """
    where = _Where(file, line)
    messages = _messages(row, where)
    _check_roles(messages, where)
    return Dialogue(
        messages=messages,
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
    prompt = row[asked]
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


def _message_list(value: Any, name: str, where: _Where) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        raise where.error(f"{name!r} must be a list of at least one message")
    messages = []
    for number, item in enumerate(value, start=1):
        if not isinstance(item, Mapping) or "role" not in item or "content" not in item:
            raise where.error(f"message {number} of {name!r} lacks 'role' or 'content'")
        if item["role"] not in ROLES:
            word = isinstance(item["role"], str) and WORD.fullmatch(item["role"])
            fault = f"the role {item['role']!r}" if word else "a role that is no word"
            raise where.error(f"message {number} has {fault}", f"Known roles: {', '.join(ROLES)}.")
        name = f"content of message {number}"
        if number == len(value) and item["role"] == "assistant":
            messages += _reply(item["content"], name, _reasoning(item), where)
        else:
            messages.append(Message(item["role"], where.text(item["content"], name)))
    return tuple(messages)


def _reasoning(message: Mapping[str, Any]) -> str:
    """Under whichever name; some have lists of summaries under one of them, which are left aside."""
    found = (message.get(name) for name in THOUGHTS)
    return next((text.strip() for text in found if isinstance(text, str) and text.strip()), "")


def _reply(value: Any, name: str, thought: str, where: _Where) -> list[Message]:
    """The assistant's last message: its thought, if it has one, and its answer, if it came to one."""
    text = where.optional(value, name)
    within, answer = apart(text) if text else ("", "")
    thoughts = [Message(THOUGHT, where.optional(t, name)) for t in (thought or within,) if t]
    return thoughts if thoughts and not answer else [*thoughts, Message("assistant", where.text(answer, name))]


def _check_roles(messages: Sequence[Message], where: _Where) -> None:
    roles = [m.role for m in messages if m.role != THOUGHT]
    if messages[-1].role == THOUGHT:
        roles.append("assistant")
    turns = roles[1:] if roles[0] == "system" else roles
    if not turns or turns != (["user", "assistant"] * len(turns))[: len(turns)]:
        raise where.error(
            f"the roles are out of order ({', '.join(roles)})",
            "An optional system message, then user and assistant in turn, beginning with the user.",
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
