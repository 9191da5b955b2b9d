"""References as statements: what responses are held against by judges that read language."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from expunge.dialogue import Dialogue
from expunge.errors import InputError
from expunge.files import digest, read_jsonl
from expunge.judges.words import normal, tokens

NEAREST = 4  # statements, at most, that a response is held against where no question matches


@dataclass(frozen=True, slots=True)
class Statement:
    """Something true: the answer to `question`, or, where that is empty, a statement on its own."""

    text: str
    question: str = ""


class Statements:
    """Statements, and which of them a dialogue is about."""

    def __init__(self, statements: Sequence[Statement]) -> None:
        self._answers: dict[str, list[str]] = {}
        self._alone: list[tuple[str, frozenset[str]]] = []
        for statement in statements:
            if statement.question:
                self._answers.setdefault(normal(statement.question), []).append(
                    f"{statement.question} {statement.text}"  # "1912" alone says little
                )
            else:
                self._alone.append((statement.text, frozenset(tokens(statement.text))))
        self.version = digest(*(part for s in statements for part in (s.question, s.text)))

    def about(self, dialogue: Dialogue) -> tuple[str, ...]:
        """The answers to the dialogue's question, each with its question.

        Without any, the statements that share most words with the dialogue, two at least.
        """
        if answers := self._answers.get(normal(dialogue.question)):
            return tuple(dict.fromkeys(answers))
        said = set(tokens(f"{dialogue.question} {dialogue.response or ''}"))
        shared = [(len(said & words), text) for text, words in self._alone]
        near = sorted((pair for pair in shared if pair[0] >= 2), key=lambda pair: -pair[0])
        return tuple(text for _, text in near[:NEAREST])


def read_statements(path: str | Path) -> Statements:
    """Read JSON Lines of `{"statement": …}` or `{"question": …, "answer": …}` (a text, or a list of texts, each).

    Raises:
        InputError: no file, an empty one, or a row of another form.
    """
    found: list[Statement] = []
    for line, row in read_jsonl(Path(path)):
        alone = _texts(row.get("statement"))
        questions, answers = _texts(row.get("question")), _texts(row.get("answer"))
        if not alone and not (questions and answers):
            raise InputError(
                "no statement in this row",
                file=path,
                line=line,
                remedy='A row reads {"statement": "…"} or {"question": "…", "answer": "…"}, with words in each text.',
            )
        found += [Statement(text) for text in alone]
        found += [Statement(answer, question) for question in questions for answer in answers]
    return Statements(found)


def _texts(value: object) -> list[str]:
    listed = value if isinstance(value, list) else [value]
    return [text for text in listed if isinstance(text, str) and normal(text)]
