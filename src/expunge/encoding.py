"""Dialogues to token ids: chat template, response tokens, fault mask.

Prompt and response are tokenized apart, as generation does, so that no token straddles the border between them. A model
that thinks first is asked to answer right away, by an empty thought of its template's, or to go on from a thought.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from expunge.chat_template import MARK, PLAIN_TEMPLATE, ChatTemplate, template_text
from expunge.dialogue import Dialogue
from expunge.errors import InputError
from expunge.message import THOUGHT, Message
from expunge.span import Span
from expunge.thought import Thinking
from expunge.tokens import end_tokens, token_places

REMEMBERED = 2**15
"""Prompts, as text and as tokens, and dialogues: the most that a format remembers; then it begins anew."""

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids of a prompt and of a response (end token included); `fault` marks the response tokens in a span."""

    prompt: tuple[int, ...]
    response: tuple[int, ...]
    fault: tuple[bool, ...]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.response)


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """How messages become tokens for one tokenizer. Build it with `of`. What it has encoded lately it remembers."""

    tokenizer: Any
    template: ChatTemplate
    plain: bool
    end_ids: tuple[int, ...]
    context: int
    thinking: Thinking = field(default_factory=Thinking)
    _known: dict[Any, Any] = field(default_factory=dict, init=False, compare=False, repr=False)

    @classmethod
    def of(cls, tokenizer: Any, template: str | None, model: Any) -> ChatFormat:
        """The tokenizer's own template, or the given one (Jinja text, a file, or `plain`).

        Raises:
            InputError: the tokenizer gives no character offsets or has no end token, or the template does not work.
        """
        if not getattr(tokenizer, "is_fast", False):
            raise InputError("this model's tokenizer gives no character offsets", remedy="Use its fast tokenizer.")
        template = template_text(template)
        plain = template == "plain" or (template is None and not getattr(tokenizer, "chat_template", None))
        ends = end_tokens(tokenizer, model)
        wording = ChatTemplate.of(tokenizer, PLAIN_TEMPLATE if plain else template)
        chat = cls(tokenizer, wording, plain, ends, context_of(model))
        with contextlib.suppress(InputError):  # of a response so long; what keeps any from being read is told below
            asked = (Message("user", "a"),)
            whole = chat.template.render((*asked, Message("assistant", MARK)), "", answer_next=False)
            chat = replace(chat, thinking=Thinking.of(chat.template.render(asked, "", answer_next=True), whole, MARK))
        chat.encode(Dialogue((Message("user", "a"), Message("assistant", "b"))))
        return chat

    @property
    def stops(self) -> tuple[int, ...]:
        """End tokens of what is generated: those of a response, and of a thought if the model ends it by one token."""
        end = self.ids(self.thinking.end.strip()) if self.thinking.thinks else ()
        return (*self.end_ids, *(end if len(end) == 1 and end[0] not in self.end_ids else ()))

    def shared(self, other: ChatFormat) -> ChatFormat:
        """The other, with what it remembers, where it makes the same tokens of everything; else this one."""
        mine, theirs = (
            (f.template.text, f.plain, f.end_ids, f.context, f.tokenizer.chat_template, f.tokenizer.special_tokens_map)
            for f in (self, other)
        )
        same = mine == theirs and _rules(self.tokenizer) == _rules(other.tokenizer)
        return other if same else self

    def prompt_ids(self, messages: Sequence[Message], *, place: str = "", thinking: bool = False) -> tuple[int, ...]:
        """Token ids up to the place where the response, or the thought, begins; `place` is what an error calls it."""
        return self._prompt(self._prompt_text(tuple(messages), place, thinking))

    def encode_prompt(self, dialogue: Dialogue, *, thinking: bool = False) -> tuple[int, ...]:
        """The prompt's token ids, for the model to go on from: to answer, or to think.

        Raises:
            InputError: it leaves no room in the model's context.
        """
        prompt, thinking = dialogue.prompt, thinking or dialogue.thinks
        place = dialogue.place
        ids = self._remembered((prompt, thinking), lambda: self.prompt_ids(prompt, place=place, thinking=thinking))
        self._check_length(len(ids) + 1, dialogue)
        return ids

    def encode(self, dialogue: Dialogue, spans: Sequence[Span] = ()) -> Encoded:
        """Encode a dialogue with its response; without spans, or with none that a token lies in, all of it is at fault.

        Raises:
            InputError: no response, one with an end token in it, longer than the model's context, or a template that
                rewrites the prompt.
        """
        if dialogue.response is None:
            raise _fault(dialogue, "this dialogue has no response", "Give one, or scan it as a prompt first.")
        row = self._remembered((dialogue.messages, tuple(spans)), lambda: self._encoded(dialogue, spans))
        self._check_length(len(row), dialogue)
        return row

    def encode_whole(self, dialogue: Dialogue) -> Encoded:
        """`encode` of the thought and the answer after it as one response, where there is a thought; all is at fault.

        Raises: as `encode`.
        """
        row, thought = self.encode(dialogue), dialogue.thought
        if thought is None:
            return row
        begun, between = self.encode(thought), self.ids(self.thinking.closing.removeprefix(self.thinking.end))
        response = (*begun.response, *between, *row.response)
        self._check_length(len(begun.prompt) + len(response), dialogue)
        return Encoded(begun.prompt, response, (True,) * len(response))

    def _remembered(self, key: Any, find: Callable[[], Found]) -> Found:
        if key in self._known:
            known: Found = self._known[key]
            return known
        found = find()
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[key] = found
        return found

    def _encoded(self, dialogue: Dialogue, spans: Sequence[Span]) -> Encoded:
        prompt = self._prompt_text(dialogue.prompt, dialogue.place, dialogue.thinks)
        if dialogue.thinks:
            tail, start, end = (dialogue.response or "") + self.thinking.end, 0, len(dialogue.response or "")
        else:
            tail = self._after_prompt(dialogue)
            start, end = self._find_response(tail, dialogue)
        coded = self.tokenizer(tail, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        ids, offsets = list(coded["input_ids"]), token_places(self.tokenizer, tail, coded)
        keep = next((i for i, (a, _) in enumerate(offsets) if a >= end), len(ids))
        if any(token in self.end_ids for token in ids[:keep]):
            raise _fault(dialogue, "there is an end token inside the response", "Remove it from the text.")
        closing = (
            ids[keep:] if dialogue.thinks else [next((t for t in ids[keep:] if t in self.end_ids), self.end_ids[0])]
        )
        fault = [_inside(a - start, b - start, spans) for a, b in offsets[:keep]]
        if not any(fault):
            fault, spans = [True] * keep, ()
        return Encoded(
            prompt=self._remembered((dialogue.prompt, dialogue.thinks), lambda: self._prompt(prompt)),
            response=(*ids[:keep], *closing),
            fault=(*fault, *(not spans for _ in closing)),
        )

    def _after_prompt(self, dialogue: Dialogue) -> str:
        """What the template writes for the response, and after it."""
        prompt = self._header(dialogue.asked, dialogue.place) + self.thinking.written
        full = self.template.render((*dialogue.asked, dialogue.messages[-1]), dialogue.place, answer_next=False)
        if not full.startswith(prompt):
            remedy = "Give a template in which the prompt's text comes first, unchanged (--template FILE)."
            raise _fault(dialogue, "the chat template changes the prompt once there is a response", remedy)
        return full[len(prompt) :]

    def text(self, ids: Sequence[int]) -> str:
        """A generated response as text: up to its end token, without special tokens."""
        stops = self._remembered("stops", lambda: self.stops)
        stop = next((i for i, token in enumerate(ids) if token in stops), len(ids))
        return str(self.tokenizer.decode(ids[:stop], skip_special_tokens=True)).strip()

    def _prompt_text(self, messages: tuple[Message, ...], place: str, thinking: bool) -> str:
        """As far as the response, with a thought, if the messages end in one, or else with none; or as far as one."""
        way, thought = self.thinking, messages[-1].content if messages[-1].role == THOUGHT else ""
        given = way.opening if thinking else way.opening + thought + way.closing if thought else way.nothing
        return self._header(messages[:-1] if thought else messages, place) + given

    def _header(self, messages: tuple[Message, ...], place: str) -> str:
        """The prompt as the template has it, without its part of a thought."""
        text = self._remembered(("text", messages), lambda: self.template.render(messages, place, answer_next=True))
        return text.removesuffix(self.thinking.begun)

    def ids(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def _prompt(self, text: str) -> tuple[int, ...]:
        ids = self.ids(text)
        if not self.plain:
            return ids
        whole = tuple(self.tokenizer(text, verbose=False)["input_ids"])
        starts = (i for i in range(len(whole) - len(ids) + 1) if whole[i : i + len(ids)] == ids)
        start = next(starts, len(whole))
        return whole[: start + len(ids)]  # with what comes before a text, and without what ends it

    def _check_length(self, tokens: int, dialogue: Dialogue) -> None:
        if tokens > self.context:
            remedy = "Shorten or remove it, or use a model with a longer context."
            raise _fault(dialogue, f"{tokens} tokens, but the model's context is {self.context}", remedy)

    def _find_response(self, tail: str, dialogue: Dialogue) -> tuple[int, int]:
        """Where the response begins and ends in the text after the prompt; many templates strip it."""
        response = dialogue.response or ""
        forms = dict.fromkeys((response, response.rstrip(), response.lstrip(), response.strip()))

        def found(lead: int) -> tuple[int, int] | None:
            form = next((form for form in forms if tail.startswith(form, lead)), None)
            return None if form is None else (lead - response.find(form), lead + len(form))

        place = found(1 if self.plain else 0)
        if place is None:  # some write something before it: where, another response shows
            marked = self._after_prompt(replace(dialogue, messages=(*dialogue.asked, Message("assistant", MARK))))
            place = found(max(0, marked.find(MARK)))
        if place is None:
            raise _fault(dialogue, "the chat template changes the response's text", "Give another (--template FILE).")
        return place


def _rules(tokenizer: Any) -> str:
    return str(tokenizer.backend_tokenizer.to_str())


def context_of(model: Any) -> int:
    """The longest sequence that a model takes, in tokens."""
    return int(getattr(model.config.get_text_config(), "max_position_embeddings", None) or 2**31)


def _inside(start: int, end: int, spans: Sequence[Span]) -> bool:
    return not spans or any(start < s.end and end > s.start for s in spans)


def _fault(dialogue: Dialogue, message: str, remedy: str) -> InputError:
    return InputError(f"{dialogue.place}: {message}", remedy=remedy)
