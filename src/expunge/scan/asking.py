"""Prompts answered by the model, so that its answers can be judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from expunge.dialogue import Dialogue
from expunge.files import digest, folder_digest
from expunge.thought import ROOM

if TYPE_CHECKING:
    from expunge.encoding import ChatFormat
    from expunge.model import LanguageModel


class Answering(Protocol):
    """Who answers prompts. name: of the model and where it is, by which a resumed scan knows it."""

    @property
    def name(self) -> str: ...

    def __call__(
        self, prompts: Sequence[Dialogue], *, max_new_tokens: int, samples: int, seed: int, thinking: int = 0
    ) -> list[list[str]]:
        """As `generation.generate`; thinking: tokens of the thought of a model that thinks first, see `think` there."""
        ...


def known(model: str, template: str | None) -> str:
    """By what a resumed scan knows a model and its template. A folder is known by its settings as well, and by the
    sizes and dates of its weights, since to read them all may take as long as the scan.

    Raises:
        InputError: there is no such template file.
    """
    from expunge.chat_template import template_text
    from expunge.model import resolve

    folder = Path(resolve(model))
    parts = [folder_digest(folder, f"*.{kind}") for kind in ("json", "jinja") if folder.is_dir()]
    weights = [(path.name, path.stat()) for path in sorted(folder.glob("*.safetensors"))]
    parts += [f"{name} {found.st_size} {found.st_mtime_ns}" for name, found in weights]
    return f"{model}, {digest(template_text(template) or '', *parts)[:16]}"


def chat_format(model: str, template: str | None) -> ChatFormat:
    """The model's, without its weights: what it cannot read can be set aside by it.

    Raises:
        InputError: as `load_model`.
    """
    from expunge.model import load_model

    return load_model(model, template=template, device="meta").format


@dataclass(frozen=True, slots=True)
class Loaded:
    """The model in this process. load: called only if there are prompts: judging logged dialogues loads no model."""

    name: str
    load: Callable[[], LanguageModel]

    @classmethod
    def of(cls, model: str, template: str | None, load: Callable[[], LanguageModel]) -> Loaded:
        """`load` loads this model with this template.

        Raises:
            InputError: there is no such template file.
        """
        return cls(known(model, template), load)

    def __call__(
        self, prompts: Sequence[Dialogue], *, max_new_tokens: int, samples: int, seed: int, thinking: int = 0
    ) -> list[list[str]]:
        from expunge.generation import generate, think

        lm = self.load()
        if not (thinking and lm.format.thinking.thinks):
            return generate(lm, prompts, max_new_tokens=max_new_tokens, samples=samples, seed=seed)
        ask = partial(generate, lm, seed=seed)
        return think(ask, lm.format, prompts, room=thinking, length=max_new_tokens, samples=samples)


ASKED = {
    "name": "model",
    "samples": "--samples",
    "max_new_tokens": "--max-new-tokens",
    "seed": "--seed",
    "thinking": "--thinking",
}
"""What decides the answers, and what a user calls it."""


@dataclass(frozen=True, slots=True)
class Asking:
    """How prompts are answered.

    samples: answers drawn for each prompt; 0 takes the one greedy answer. seed: of the draws; each block of rows draws
    anew from it and its place, so that a resumed scan goes on as it would have. thinking: tokens that a model which
    thinks first may think for; 0: it is made to answer right away.
    """

    answers: Answering
    samples: int = 0
    max_new_tokens: int = 128
    seed: int = 0
    thinking: int = ROOM

    @property
    def name(self) -> str:
        return self.answers.name

    def answered(self, dialogues: Sequence[Dialogue], block: int) -> tuple[Sequence[Dialogue], int]:
        """The dialogues of a block, prompts replaced by their distinct answers; and how many got none.

        An answer's id is the prompt's and the beginning of its own digest ("p#1f0c39a2"): a prompt that comes again may
        be answered otherwise, and one id must not stand for two dialogues. A greedy one keeps an id that its row gave.
        """
        prompts = [d for d in dialogues if d.response is None]
        if not prompts:
            return dialogues, 0
        seed = (self.seed + 1_000_003 * block) % 2**32
        options = {"max_new_tokens": self.max_new_tokens, "samples": self.samples, "thinking": self.thinking}
        given = iter(self.answers(prompts, seed=seed, **options))
        found: list[Dialogue] = []
        silent = 0
        for dialogue in dialogues:
            if dialogue.response is not None:
                found.append(dialogue)
                continue
            texts = [text for text in dict.fromkeys(next(given)) if text]
            silent += not texts
            marked = self.samples or dialogue.id == dialogue.content_id
            found += [
                replace(dialogue.said(text), id=f"{dialogue.id}#{digest(text)[:8]}" if marked else dialogue.id)
                for text in texts
            ]
        return found, silent
