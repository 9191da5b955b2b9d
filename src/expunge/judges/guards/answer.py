"""What a guard says about a response, and what every family of guards has to tell."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from expunge.judges.verdict import Label

Turns = Sequence[Mapping[str, str]]
"""Messages as chat templates take them, the judged response last; no system message."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A guard's answer, read. It concerns the response alone.

    said: the word of the answer that decides, as in the family's `labels`. at: where in the text it begins.
    categories: the guard's names of the fault. note: what else it said (a refusal, a harmful request).
    """

    said: str
    at: int
    categories: tuple[str, ...] = ()
    note: str = ""


class Family(ABC):
    """One family of guard models: its prompt, its labels, and how its answers read. Made as frozen dataclasses.

    labels: the words that decide, and the ways in which each is written: the score is a softmax of first tokens.
    faulty: the label that is a fault. names_categories: whether the answer goes on with categories. private: the
    guard's category for private data. length: enough new tokens for an answer.
    """

    __slots__ = ()

    name: ClassVar[str]
    labels: ClassVar[Mapping[str, tuple[str, ...]]]
    faulty: ClassVar[str]
    names_categories: ClassVar[bool] = False
    private: ClassVar[str] = ""
    length: ClassVar[int]

    @property
    def questions(self) -> tuple[str, ...]:
        """What is asked about each response, one prompt each: the names of faults, or one empty text."""
        return ("",)

    @abstractmethod
    def render(self, tokenizer: Any, turns: Turns, question: str, documents: Sequence[str]) -> str:
        """The guard's prompt."""

    @abstractmethod
    def lead(self, prompt: str) -> str | None:
        """What the answer says before the label; None where only the guard's own answer tells."""

    def risk(self, chances: Mapping[str, float]) -> float:
        """The probability that the response is at fault."""
        return chances[self.faulty]

    @abstractmethod
    def parse(self, text: str) -> Answer | None:
        """Read an answer; None where it is nonsense, cut short or contradicts itself."""

    def fault(self, categories: Sequence[str]) -> Label:
        """`privacy` where nothing but the category for private data is named, else `harmful`."""
        return "privacy" if categories and all(name == self.private for name in categories) else "harmful"


def yes_or_no(text: str, start: int = 0) -> Answer | None:
    """An answer whose first word is Yes or No, as more than one family gives it; the rest may explain."""
    match = re.compile(r"\s*(yes|no)\b", re.IGNORECASE).match(text, start)
    return Answer(match[1].capitalize(), match.start(1)) if match else None
