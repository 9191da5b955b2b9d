"""Guard models as judges: a score from the label's probability, then categories for what is flagged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from expunge.dialogue import Dialogue
from expunge.errors import InputError
from expunge.files import digest
from expunge.identity import judge_digest
from expunge.judges.guards.answer import Answer, Family
from expunge.judges.guards.prompt import shortened, turns_of
from expunge.judges.guards.reader import Asked, Reader
from expunge.judges.loading import check_threshold, load, longest_input, place
from expunge.judges.verdict import Verdict
from expunge.judges.windows import windows

RULES = "guard rules 2"  # raise it whenever a prompt or a rule changes
MASS = 0.25  # a guard whose labels have less than this share of its probability is answering otherwise
LEAST = 32  # tokens for response and prompt, below which a guard's context is of no use


@dataclass(slots=True)
class Row:
    """One prompt to the guard: a dialogue, or a window of its response, and one question about it."""

    index: int
    question: str
    prompt: str
    asked: Asked | None = None
    score: float | None = None
    answer: Answer | None = None


class GuardJudge:
    """Flags responses that a guard model finds at fault; its verdict on the prompt, and refusals, are no fault.

    The score is the probability of the faulty label among the labels, read in one forward where the answer's beginning
    is known; where the guard would say something else there, or its verdict comes late in the answer, its own greedy
    answer is read first. An answer that cannot be read gives `unknown`.

    A long prompt is cut at its beginning; a response that does not fit alone is read in overlapping windows, and the
    worst counts. context: the most tokens that the guard is given at once.

    Raises:
        InputError: the model cannot be loaded, is of another family, or a setting is wrong.
    """

    def __init__(
        self,
        model: str | Path,
        family: Family,
        *,
        threshold: float = 0.5,
        context: int = 8192,
        device: str | None = None,
        documents: Callable[[Dialogue], Sequence[str]] | None = None,
        documents_version: str = "",
    ) -> None:
        check_threshold(threshold)
        self.family, self.threshold, self.name = family, threshold, family.name
        self.label = family.fault(())
        self._documents = documents
        tokenizer, loaded = load(str(model), "CausalLM")
        self._reader = Reader(tokenizer, loaded, place(loaded, device))
        added = (token.content for token in tokenizer.added_tokens_decoder.values() if token.special)
        self._special = (*tokenizer.all_special_tokens, *added)
        self._context = min(context, longest_input(tokenizer, loaded.config))
        settings = (repr(family), repr(threshold), repr(self._context), documents_version)
        self.version = digest(RULES, judge_digest(Path(model), loaded.config), *settings)[:12]

    def judge(self, dialogues: Sequence[Dialogue]) -> list[Verdict]:
        reasons: dict[int, str] = {}
        rows = [row for i, dialogue in enumerate(dialogues) for row in self._rows(i, dialogue, reasons)]
        self._score(rows)
        by_dialogue: dict[int, list[Row]] = defaultdict(list)
        for row in rows:
            by_dialogue[row.index].append(row)
        self._name_categories([_worst(group) for group in by_dialogue.values()])
        return [self._verdict(by_dialogue.get(i, []), reasons.get(i, "")) for i in range(len(dialogues))]

    def _rows(self, index: int, dialogue: Dialogue, reasons: dict[int, str]) -> list[Row]:
        response = dialogue.response or ""
        if not response.strip():
            reasons[index] = "an empty response"
            return []
        documents = tuple(self._documents(dialogue)) if self._documents else ()
        if self._documents and not documents:
            reasons[index] = "no reference for this dialogue"
            return []
        rows = []
        for question in self.family.questions:
            room = self._room(question, documents)
            if room < LEAST:
                reasons[index] = "the references leave no room for the response"
                return []
            for window in self._windows(response, room):
                prompt = self._fitted(dialogue, window, question, documents)
                if prompt is None:
                    reasons[index] = "the response does not fit into the guard's context"
                    return []
                rows.append(Row(index, question, prompt))
        return rows

    def _room(self, question: str, documents: Sequence[str]) -> int:
        """Tokens left for prompt and response beside the guard's own text and its answer."""
        bare = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
        frame = self.family.render(self._reader.tokenizer, bare, question, documents)
        room = (
            self._context - len(self._reader.ids(frame)) - self.family.length - 8
        )  # the answer, and what it begins with
        if room < LEAST and not documents:
            raise InputError(
                f"the guard's own instructions fill its context of {self._context} tokens",
                remedy=f"Give a model of the family {self.name}, or a larger `context`.",
            )
        return room

    def _windows(self, response: str, room: int) -> Iterator[str]:
        if len(response) <= room or len(self._reader.ids(response)) <= room:  # a token is nearly always a character
            yield response
            return
        smaller = room - room // 4  # the prompt gets a quarter
        yield from windows(response, lambda piece: len(self._reader.ids(piece)) <= smaller)

    def _fitted(self, dialogue: Dialogue, response: str, question: str, documents: Sequence[str]) -> str | None:
        turns = turns_of(dialogue, response, self._special)
        while True:
            text = self.family.render(self._reader.tokenizer, turns, question, documents)
            excess = len(self._reader.ids(text)) + self.family.length + 8 - self._context
            if excess <= 0:
                return text
            cut = shortened(turns, self._reader.tokenizer, excess)
            if cut is None:
                return None
            turns = cut

    def _score(self, rows: Sequence[Row]) -> None:
        """Fill in scores; rows whose answer cannot be read keep none."""
        known = [(row, lead) for row in rows if (lead := self.family.lead(row.prompt)) is not None]
        self._read(known, least=MASS)
        late = [row for row in rows if row.score is None]
        prompts = [self._reader.ids(row.prompt) for row in late]
        told: list[tuple[Row, str]] = []
        for row, text in zip(
            late, self._reader.answers(prompts, length=self.family.length) if late else [], strict=True
        ):
            row.answer = self.family.parse(text)
            if row.answer:
                told.append((row, text[: row.answer.at]))
        self._read(told, least=0.0)

    def _read(self, rows: Sequence[tuple[Row, str]], *, least: float) -> None:
        asked = [self._reader.ask(row.prompt + lead, self.family.labels) for row, lead in rows]
        for (row, _), where, reading in zip(rows, asked, self._reader.read(asked), strict=True):
            if reading is not None and reading.mass >= least:
                row.score, row.asked = self.family.risk(reading.chances), where

    def _name_categories(self, rows: Sequence[Row]) -> None:
        """Let the guard go on after the faulty label; an answer that then cannot be read takes the score away."""
        if not self.family.names_categories:
            return
        flagged = [r for r in rows if r.score is not None and r.score >= self.threshold and not self._told(r)]
        if not flagged:
            return
        begun = []
        for row in flagged:
            lead = self.family.lead(row.prompt) or ""
            begun.append(self._reader.ids(row.prompt + lead + self.family.labels[self.family.faulty][0]))
        texts = self._reader.answers(begun, length=self.family.length)
        for row, text in zip(flagged, texts, strict=True):
            lead = self.family.lead(row.prompt) or ""
            row.answer = self.family.parse(f"{lead}{self.family.labels[self.family.faulty][0]}{text}")
            if row.answer is None:
                row.score = None

    def _told(self, row: Row) -> bool:
        return row.answer is not None and bool(row.answer.categories)

    def _verdict(self, rows: Sequence[Row], reason: str) -> Verdict:
        worst = _worst(rows) if rows else None
        if worst is None or worst.score is None:
            why = reason or "the guard's answer cannot be read"
            return Verdict("unknown", 0.0, self.name, self.version, why)
        score = min(1.0, max(0.0, worst.score))
        if score < self.threshold:
            if any(row.score is None for row in rows):
                return Verdict("unknown", 0.0, self.name, self.version, "a part of the guard's answer cannot be read")
            return Verdict("clean", score, self.name, self.version, self._reason(worst, score))
        named = [r.question for r in rows if r.question and r.score is not None and r.score >= self.threshold]
        categories = (
            worst.answer.categories if worst.answer and worst.answer.categories else tuple(dict.fromkeys(named))
        )
        label = self.family.fault(categories)
        reason = self._reason(worst, score)
        return Verdict(label, score, self.name, self.version, reason, categories=categories)

    def _reason(self, row: Row, score: float) -> str:
        note = f"; {row.answer.note}" if row.answer and row.answer.note else ""
        return f"{self.family.faulty}: {score:.2f}{note}"


def _worst(rows: Sequence[Row]) -> Row:
    return max(rows, key=lambda row: -1.0 if row.score is None else row.score)
