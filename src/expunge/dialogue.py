"""Dialogues: the Hugging Face chat format in and out, with errors that name file and line.

Rows may be written in any of three ways:

    {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}
    {"prompt": "…" or [messages], "response": "…"}        ("completion" is read as "response")
    {"question": "…", "answer": "…"}

A row that ends with a user message (or lacks its response) is a prompt: something to ask the model. Optional in every
form: "id", "expected" (a text or a list: acceptable responses), "key" (a text or a list: what a right response says,
such as a year), "subject" (who or what it is about), "skill".

Messages may be as OpenAI logs them: texts in parts are joined by line breaks, `developer` is read as `system`, and an
assistant's "tool_calls", the `tool` messages after them and the row's "tools" are context that the chat template shows.
Other keys are not read. What is no text (an image) is refused, and so is a dialogue that ends with a call.

What the model thought before its response is read from <think>…</think> at the beginning of it, or from the assistant
message's "reasoning_content", "reasoning" or "thinking"; of earlier turns it is not, since models are not shown it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from expunge.errors import InputError
from expunge.files import digest
from expunge.message import THOUGHT, Message, Where, as_openai, messages_of
from expunge.sources import read_rows, unsliced
from expunge.thought import apart


@dataclass(frozen=True, slots=True)
class Dialogue:
    """Messages whose last one, if it is the assistant's, is the *response* under judgement, be it a thought."""

    messages: tuple[Message, ...]
    id: str = ""
    expected: tuple[str, ...] = ()
    subject: str = ""
    skill: str = ""
    key: tuple[str, ...] = ()
    source: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not self.id:
            object.__setattr__(self, "id", self.content_id)

    @property
    def content_id(self) -> str:
        """Sixteen hex digits of the messages' hash: equal dialogues have equal ids."""
        said = [
            part for m in self.messages for part in ((m.role, m.content, m.more) if m.more else (m.role, m.content))
        ]
        return digest(*said)[:16]

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
        """The messages before what the model thought and answered."""
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
        if len(self.messages) < 2 or self.messages[-2].role != THOUGHT:
            return None
        return replace(self, messages=self.prompt, id=f"{self.id}#thought", expected=(), key=())

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
        chat, tools = as_openai(self.messages)
        row: dict[str, Any] = {"id": self.id, "messages": chat}
        if tools:
            row["tools"] = tools
        if self.expected:
            row["expected"] = list(self.expected)
        if self.key:
            row["key"] = list(self.key)
        if self.subject:
            row["subject"] = self.subject
        if self.skill:
            row["skill"] = self.skill
        return row


def parse(row: Mapping[str, Any], *, file: str | Path = "row", line: int | None = None) -> Dialogue:
    """Read one row.

    Raises:
        InputError: a field is missing, a role is unknown, roles are out of order, or a text is empty or not a text.
    """
    where = Where(file, line)
    return Dialogue(
        messages=messages_of(row, where),
        id=_identity(row.get("id"), where),
        expected=_texts(row.get("expected"), "expected", where),
        key=_texts(_text(row.get("key")), "key", where),
        subject=where.optional(row.get("subject"), "subject"),
        skill=where.optional(row.get("skill"), "skill"),
        source=f"{file}:{line}" if line is not None else str(file),
    )


def _identity(value: Any, where: Where) -> str:
    return where.optional(_text(value), "id")


def _text(value: Any) -> Any:
    """A whole number as a text."""
    return str(value) if type(value) is int else value


def _texts(value: Any, name: str, where: Where) -> tuple[str, ...]:
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
