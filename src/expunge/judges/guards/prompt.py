"""A guard's prompt as text: the tokenizer's chat template where it shows the response, else the family's own text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from expunge.dialogue import Dialogue
from expunge.judges.guards.answer import Turns


def chat_text(tokenizer: Any, turns: Turns, own: Callable[[Turns], str], mark: str = "", **settings: Any) -> str:
    """The chat template's text; `own(turns)` where there is no template, it fails, or it leaves the response out.

    mark: what the guard's own template says; one without it is a general one, which came with converted weights. Some
    templates take a message's content as a list of parts, and show nothing of a plain text: both are tried.
    """
    if not getattr(tokenizer, "chat_template", None):
        return own(turns)
    for parts in (False, True):
        messages = [
            {**turn, "content": [{"type": "text", "text": turn["content"]}] if parts else turn["content"]}
            for turn in turns
        ]
        try:
            text = str(tokenizer.apply_chat_template(messages, tokenize=False, **settings))
        except Exception:  # Jinja's own, and whatever a template raises
            continue
        shown = all(turn["content"].strip() in text for turn in turns if turn["role"] == "assistant")
        if shown and mark in text and not (parts and "{'type': 'text'" in text):
            return text
    return own(turns)


def turns_of(dialogue: Dialogue, response: str, special: Sequence[str]) -> list[dict[str, str]]:
    """The dialogue as turns, with this text as its response; special tokens written in it are no longer such.

    System messages, calls of tools and what came of them are left out: guards are trained on what user and assistant
    say to each other.
    """
    said = [m for m in dialogue.asked if m.role == "user" or (m.role == "assistant" and not m.more)]
    turns = [{"role": m.role, "content": m.content} for m in said]
    turns.append({"role": "assistant", "content": response})
    return [{**turn, "content": harmless(turn["content"], special)} for turn in turns]


def harmless(text: str, special: Sequence[str]) -> str:
    """The text with a space inside every special token, so that no dialogue can end the guard's prompt early."""
    for token in special:
        if len(token) > 2 and not token.isspace():
            text = text.replace(token, f"{token[0]} {token[1:]}")
    return text


def shortened(turns: list[dict[str, str]], tokenizer: Any, excess: int) -> list[dict[str, str]] | None:
    """The turns with about `excess` tokens less at the prompt's beginning; None where nothing is left to cut.

    The response stays whole; so do the roles' order and one user message.
    """
    if len(turns) > 2:
        return turns[2:]
    question = turns[0]["content"]
    offsets = tokenizer(question, add_special_tokens=False, return_offsets_mapping=True, verbose=False)[
        "offset_mapping"
    ]
    if not offsets or len(question) < 2:
        return None
    first = min(max(1, excess), len(offsets) - 1)
    start = max(1, offsets[first][0]) if first else len(question) - 1
    return [{**turns[0], "content": question[start:]}, turns[1]]
