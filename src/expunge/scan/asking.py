"""Prompts answered by the model, so that its answers can be judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from expunge.dialogue import Dialogue

if TYPE_CHECKING:
    from expunge.model import LanguageModel


@dataclass(frozen=True, slots=True)
class Asking:
    """How prompts are answered.

    model: called only if there are prompts, so that judging logged dialogues loads no model.
    samples: answers drawn for each prompt; 0 takes the one greedy answer. seed: of the draws; each block of rows draws
    anew from it and its place, so that a resumed scan goes on as it would have.
    """

    model: Callable[[], LanguageModel]
    samples: int = 0
    max_new_tokens: int = 128
    seed: int = 0

    def answered(self, dialogues: Sequence[Dialogue], block: int) -> tuple[Sequence[Dialogue], int]:
        """The dialogues of a block, prompts replaced by their distinct answers; and how many got none.

        Drawn answers carry the prompt's id with a number: "p#1", "p#2".
        """
        prompts = [d for d in dialogues if d.response is None]
        if not prompts:
            return dialogues, 0
        from expunge.generation import generate

        seed = (self.seed + 1_000_003 * block) % 2**32
        answers = iter(
            generate(self.model(), prompts, max_new_tokens=self.max_new_tokens, samples=self.samples, seed=seed)
        )
        found: list[Dialogue] = []
        silent = 0
        for dialogue in dialogues:
            if dialogue.response is not None:
                found.append(dialogue)
                continue
            texts = [text for text in dict.fromkeys(next(answers)) if text]
            silent += not texts
            found += [
                replace(dialogue.answered(text), id=f"{dialogue.id}#{number}" if self.samples else dialogue.id)
                for number, text in enumerate(texts, start=1)
            ]
        return found, silent
