"""A model's chat template: messages to text."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from expunge.errors import InputError
from expunge.files import exists, read_text
from expunge.message import Message, as_openai

PLAIN_TEMPLATE = (
    "{% for m in messages %}"
    "{% if m.role == 'system' %}{{ m.content }}{{ '\\n\\n' }}"
    "{% elif m.role == 'user' %}Question: {{ m.content }}{{ '\\n' }}Answer:"
    "{% else %} {{ m.content }}{% if not loop.last %}{{ '\\n\\n' }}{% endif %}{% endif %}"
    "{% endfor %}"
)
"""For base models, which have no chat template: `Question: …` / `Answer: …`, ended by the end-of-text token.

Line breaks are written as expressions, since chat templates lose those that follow a block.
"""

MARK = "Expunge0Response"
"""What no template writes."""


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A template for one tokenizer. text: Jinja; None: the tokenizer's own. parts: it takes what is said as a list of
    texts and images. Build it with `of`."""

    tokenizer: Any
    text: str | None
    parts: bool = False

    @classmethod
    def of(cls, tokenizer: Any, text: str | None) -> ChatTemplate:
        template = cls(tokenizer, text)
        return replace(template, parts=template._drops())

    def render(self, messages: Sequence[Message], place: str, *, answer_next: bool) -> str:
        """The text of these messages; with `answer_next` as far as an answer begins. place: what an error calls it.

        Raises:
            InputError: the template fails, or does not show calls of tools. The error quotes nothing that is said.
        """
        if any(m.role == "tool" for m in messages) and not self._shows_tools():
            fault = "the chat template does not show calls of tools and what came of them"
            remedy = "Give one that does with --template FILE, or remove the dialogue."
            raise InputError(f"{place}: {fault}" if place else fault, remedy=remedy)
        try:
            return self._rendered(messages, answer_next)
        except Exception as error:
            said = str(error)
            if said != self._complaint(messages, answer_next):
                said = "its message depends on what is said, and may quote it"
            message = f"the chat template failed ({type(error).__name__}: {said[:120]})"
            remedy = "Give a working Jinja template with --template FILE."
            raise InputError(f"{place}: {message}" if place else message, remedy=remedy) from None

    def _shows_tools(self) -> bool:
        call = {"id": "call00000", "type": "function", "function": {"name": f"{MARK}1", "arguments": "{}"}}
        called = Message("assistant", "", json.dumps({"tool_calls": [call]}))
        result = Message("tool", f"{MARK}2", '{"tool_call_id": "call00000"}')
        try:
            text = self._rendered((Message("user", "a"), called, result, Message("assistant", "b")), False)
        except Exception:  # Jinja's own, and whatever a template raises
            return False
        return f"{MARK}1" in text and f"{MARK}2" in text

    def _drops(self) -> bool:
        """Whether the template looks for something else than the text that a user says."""
        try:
            return MARK not in self._rendered([Message("user", MARK)], answer_next=True)
        except Exception:  # Jinja's own, and whatever a template raises
            return False

    def _complaint(self, messages: Sequence[Message], answer_next: bool) -> str:
        """What the template's error says of messages like these in which nothing is said."""
        try:
            self._rendered([Message(m.role, "a") for m in messages], answer_next)
        except Exception as error:
            return str(error)
        return ""

    def _rendered(self, messages: Sequence[Message], answer_next: bool) -> str:
        chat, tools = as_openai(messages)
        for call in (call["function"] for m in chat for call in m.get("tool_calls", ())):
            with contextlib.suppress(ValueError):  # templates take a table; what is none, as it was written
                call["arguments"] = json.loads(call["arguments"])
        for turn in chat if self.parts else ():
            turn["content"] = [{"type": "text", "text": turn["content"]}]
        return str(
            self.tokenizer.apply_chat_template(
                chat, tools=tools, chat_template=self.text, tokenize=False, add_generation_prompt=answer_next
            )
        )


def template_text(template: str | None) -> str | None:
    """A template as it was given, or what its file holds.

    Raises:
        InputError: there is no such file.
    """
    if template in (None, "plain") or "{" in str(template):
        return template
    path = Path(str(template))
    if not exists(path):
        raise InputError("no such template file", file=path, remedy="Give a Jinja file, Jinja text, or `plain`.")
    return read_text(path)
