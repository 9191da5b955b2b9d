"""Dialogues to token ids: chat template, response tokens, fault mask.

Prompt and response are tokenized apart, as generation does, so that no token straddles the border between them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from expunge.dialogue import Dialogue, Message
from expunge.errors import InputError
from expunge.files import exists, read_text
from expunge.span import Span

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

_SPACE = "▁"
"""In the tokens of SentencePiece."""

_MARK = "Expunge0Response"

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
    """How messages become tokens for one tokenizer. Build it with `of`. What it has encoded lately it remembers.

    parts: the template takes what is said as a list, one of texts and images.
    """

    tokenizer: Any
    template: str | None
    plain: bool
    end_ids: tuple[int, ...]
    context: int
    parts: bool = False
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
        ends = _end_ids(tokenizer, model)
        chat = cls(tokenizer, PLAIN_TEMPLATE if plain else template, plain, ends, context_of(model))
        chat = replace(chat, parts=chat._drops())
        chat.encode(Dialogue((Message("user", "a"), Message("assistant", "b"))))
        return chat

    def shared(self, other: ChatFormat) -> ChatFormat:
        """The other, with what it remembers, where it makes the same tokens of everything; else this one."""
        mine, theirs = (
            (f.template, f.plain, f.end_ids, f.context, f.tokenizer.chat_template, f.tokenizer.special_tokens_map)
            for f in (self, other)
        )
        same = mine == theirs and _rules(self.tokenizer) == _rules(other.tokenizer)
        return other if same else self

    def prompt_ids(self, messages: Sequence[Message], *, place: str = "") -> tuple[int, ...]:
        """Token ids up to the place where the response begins; `place` is what an error calls it."""
        return self._prompt(self._prompt_text(tuple(messages), place))

    def encode_prompt(self, dialogue: Dialogue) -> tuple[int, ...]:
        """The prompt's token ids, for the model to go on from.

        Raises:
            InputError: it leaves no room in the model's context.
        """
        prompt = dialogue.prompt
        ids = self._remembered(prompt, lambda: self.prompt_ids(prompt, place=dialogue.place))
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
        prompt = self._prompt_text(dialogue.prompt, dialogue.place)
        full = self._render(dialogue.messages, dialogue.place, answer_next=False)
        if not full.startswith(prompt):
            remedy = "Give a template in which the prompt's text comes first, unchanged (--template FILE)."
            raise _fault(dialogue, "the chat template changes the prompt once there is a response", remedy)
        tail = full[len(prompt) :]
        start, end = self._find_response(tail, dialogue, len(prompt))
        coded = self.tokenizer(tail, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        ids, offsets = list(coded["input_ids"]), self._offsets(tail, coded)
        keep = next((i for i, (a, _) in enumerate(offsets) if a >= end), len(ids))
        if any(token in self.end_ids for token in ids[:keep]):
            raise _fault(dialogue, "there is an end token inside the response", "Remove it from the text.")
        closing = next((t for t in ids[keep:] if t in self.end_ids), self.end_ids[0])
        fault = [_inside(a - start, b - start, spans) for a, b in offsets[:keep]]
        whole = not any(fault)
        return Encoded(
            prompt=self._remembered(dialogue.prompt, lambda: self._prompt(prompt)),
            response=(*ids[:keep], closing),
            fault=(True,) * (keep + 1) if whole else (*fault, not spans),
        )

    def _offsets(self, text: str, coded: Any) -> list[tuple[int, int]]:
        """Where each token lies. A tokenizer that drops what it does not know counts on as if that were not there."""
        offsets, backend = list(coded["offset_mapping"]), self.tokenizer.backend_tokenizer
        unknown = getattr(backend.model, "unk_token", None) or "<0x00>"  # the first of the bytes to fall back on
        if backend.token_to_id(unknown) is not None:
            return offsets
        pieces, text = [piece.replace(_SPACE, " ") for piece in coded.tokens()], text.replace(_SPACE, " ")
        if "".join(pieces).removeprefix(" ") == text.removeprefix(" "):
            return offsets
        found, place = list[tuple[int, int]](), 0
        for piece in pieces:
            added = not found and not text.startswith(" ") and piece.startswith(" ")
            start = end = place
            for i, letter in enumerate(piece[added:]):
                at = text.find(letter, end)
                if at < 0:  # bytes, or letters written otherwise: the tokenizer's own offsets are right
                    return offsets
                start, end = (at if i == 0 else start), at + 1
            found.append((start, end))
            place = end
        return found

    def text(self, ids: Sequence[int]) -> str:
        """A generated response as text: up to its end token, without special tokens."""
        stop = next((i for i, token in enumerate(ids) if token in self.end_ids), len(ids))
        return str(self.tokenizer.decode(ids[:stop], skip_special_tokens=True)).strip()

    def _prompt_text(self, messages: tuple[Message, ...], place: str) -> str:
        return self._remembered(("text", messages), lambda: self._render(messages, place, answer_next=True))

    def _prompt(self, text: str) -> tuple[int, ...]:
        ids = tuple(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
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

    def _render(self, messages: Sequence[Message], place: str, *, answer_next: bool) -> str:
        try:
            return self._rendered(messages, answer_next)
        except Exception as error:
            said = str(error)
            if said != self._complaint(messages, answer_next):
                said = "its message depends on what is said, and may quote it"
            message = f"the chat template failed ({type(error).__name__}: {said[:120]})"
            remedy = "Give a working Jinja template with --template FILE."
            raise InputError(f"{place}: {message}" if place else message, remedy=remedy) from None

    def _drops(self) -> bool:
        """Whether the template looks for something else than the text that a user says."""
        try:
            return _MARK not in self._rendered([Message("user", _MARK)], answer_next=True)
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
        chat: list[dict[str, Any]] = [{"role": m.role, "content": m.content} for m in messages]
        for turn in chat if self.parts else ():
            turn["content"] = [{"type": "text", "text": turn["content"]}]
        return str(
            self.tokenizer.apply_chat_template(
                chat, chat_template=self.template, tokenize=False, add_generation_prompt=answer_next
            )
        )

    def _find_response(self, tail: str, dialogue: Dialogue, prompt: int) -> tuple[int, int]:
        """Where the response begins and ends in the text after the prompt; many templates strip it."""
        response = dialogue.response or ""
        forms = dict.fromkeys((response, response.rstrip(), response.lstrip(), response.strip()))

        def found(lead: int) -> tuple[int, int] | None:
            form = next((form for form in forms if tail.startswith(form, lead)), None)
            return None if form is None else (lead - response.find(form), lead + len(form))

        place = found(1 if self.plain else 0)
        if place is None:  # some write something before it: where, another response shows
            marked = self._render((*dialogue.prompt, Message("assistant", _MARK)), dialogue.place, answer_next=False)
            place = found(max(0, marked.find(_MARK, prompt) - prompt))
        if place is None:
            raise _fault(dialogue, "the chat template changes the response's text", "Give another (--template FILE).")
        return place


def _rules(tokenizer: Any) -> str:
    return str(tokenizer.backend_tokenizer.to_str())


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


def context_of(model: Any) -> int:
    """The longest sequence that a model takes, in tokens."""
    return int(getattr(model.config.get_text_config(), "max_position_embeddings", None) or 2**31)


def _end_ids(tokenizer: Any, model: Any) -> tuple[int, ...]:
    places = (tokenizer, getattr(model, "generation_config", None), model.config.get_text_config(), model.config)
    listed = [getattr(place, "eos_token_id", None) for place in places]
    flat = [i for item in listed for i in (item if isinstance(item, (list, tuple)) else [item])]
    ids = dict.fromkeys(i for i in flat if isinstance(i, int))
    if not ids:
        raise InputError("neither tokenizer nor model names an end token", remedy="Set eos_token in the tokenizer.")
    return tuple(ids)


def _inside(start: int, end: int, spans: Sequence[Span]) -> bool:
    return not spans or any(start < s.end and end > s.start for s in spans)


def _fault(dialogue: Dialogue, message: str, remedy: str) -> InputError:
    return InputError(f"{dialogue.place}: {message}", remedy=remedy)
