"""How long dialogues are, in tokens."""

from __future__ import annotations

from collections.abc import Callable

from expunge.chat_template import PLAIN_TEMPLATE, ChatTemplate, template_text
from expunge.dialogue import Dialogue

CHARACTERS = 4
"""In a token, about: English text under the tokenizers of today's models."""

Measure = Callable[[Dialogue], tuple[float, float]]
"""Tokens of a dialogue's prompt, and of its response, end token included; 0 for none."""


def by_characters(dialogue: Dialogue) -> tuple[float, float]:
    """Of the texts alone, what a chat template adds left out."""
    prompt = sum(len(m.content) for m in dialogue.prompt)
    return prompt / CHARACTERS, len(dialogue.response) / CHARACTERS + 1 if dialogue.response else 0


def by_tokenizer(model: str, template: str | None = None) -> Measure | None:
    """As the model's own tokenizer and chat template make them; None where the tokenizer cannot be had.

    The measure raises InputError where the template fails on a dialogue.
    """
    from transformers import AutoTokenizer

    from expunge import hub
    from expunge.model import quiet_transformers, resolve

    name = resolve(model)
    hub.ready(name)
    try:
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError, KeyError, ImportError):
        return None
    text = template_text(template)
    plain = text == "plain" or (text is None and not tokenizer.chat_template)
    chat = ChatTemplate.of(tokenizer, PLAIN_TEMPLATE if plain else text)

    def tokens(text: str) -> int:
        return len(tokenizer(text, add_special_tokens=False)["input_ids"])

    def measure(dialogue: Dialogue) -> tuple[float, float]:
        prompt = tokens(chat.render(dialogue.asked, dialogue.place, answer_next=True))
        said = [d.response for d in (dialogue.thought, dialogue) if d and d.response]
        return prompt, sum(map(tokens, said)) + 1 if dialogue.response else 0

    return measure
