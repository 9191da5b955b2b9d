"""Text as it stands: no chat template, and no end token after it."""

from __future__ import annotations

from dataclasses import replace

from expunge.chat_template import ChatTemplate
from expunge.dialogue import Dialogue
from expunge.encoding import Encoded
from expunge.errors import InputError
from expunge.generation import generate
from expunge.message import Message
from expunge.model import LanguageModel
from expunge.progress import Advance
from expunge.thought import Thinking

_TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"


def continuations(
    lm: LanguageModel, prompts: list[Dialogue], *, max_new_tokens: int, progress: Advance | None = None
) -> list[str]:
    """How the model goes on, greedily, from the text of each dialogue's prompt (and the tokenizer's own first token).

    Raises:
        InputError: a prompt that fills the model's context.
    """
    bare = ChatTemplate(lm.format.tokenizer, _TEMPLATE)
    lm = replace(lm, format=replace(lm.format, template=bare, plain=True, thinking=Thinking()))
    return [said[0] for said in generate(lm, prompts, max_new_tokens=max_new_tokens, progress=progress)]


def encode_text(lm: LanguageModel, text: str, *, place: str) -> Encoded:
    """A text whose tokens are all scored but the first, which nothing precedes; cut at the model's context.

    Raises:
        InputError: it has fewer than two tokens; `place` is what the error calls it.
    """
    ids = tuple(lm.format.tokenizer(text, verbose=False)["input_ids"])[: lm.context]
    if len(ids) < 2:
        raise InputError(f"{place}: this text has fewer than two tokens", remedy="Remove it.")
    return Encoded(ids[:1], ids[1:], (True,) * (len(ids) - 1))


def shortened(lm: LanguageModel, text: str, tokens: int) -> str:
    """The text's first tokens, as text."""
    ids = lm.format.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return str(lm.format.tokenizer.decode(ids[:tokens], skip_special_tokens=True))


def prompt(text: str, *, place: str) -> Dialogue:
    """A text to go on from, which errors call `place`."""
    return Dialogue((Message("user", text),), source=place)
