"""One review: a verdict file, its journal, and what the page asks of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from expunge.errors import InputError
from expunge.files import digest
from expunge.judges.verdict import LABELS, PERSON, Judged, Verdict
from expunge.progress import Progress
from expunge.review.decision import decided, decision, decision_row
from expunge.review.index import Index, Query, read_judged
from expunge.review.journal import Journal, journal_path, read_decisions

_PREVIEW = 160


class ChangedError(InputError):
    """What a person is about to overrule was not in sight: it was decided since, in another tab or by someone else.

    now: the dialogue as it stands, see `Review.dialogue`.
    """

    def __init__(self, message: str, now: Mapping[str, Any], *, remedy: str) -> None:
        super().__init__(message, remedy=remedy)
        self.now = now


class Review:
    """A verdict file open for review. What it gives is plain data, ready for JSON.

    Raises:
        InputError: as `Index` and `Journal`.
    """

    def __init__(self, path: Path, *, progress: Progress | None = None) -> None:
        self.index = Index(path, progress=progress)
        self.journal = Journal(journal_path(path), self.index.digest)
        self._person = self.index.person.copy()
        for position, (_, verdict) in self.journal.decisions.now.items():
            if position >= len(self.index):
                raise InputError(f"a decision is about dialogue {position}, which is not there", file=self.journal.path)
            self._person[position] = LABELS.index(verdict.label)

    @property
    def done(self) -> int:
        """How many dialogues a person has decided."""
        return int(np.count_nonzero(self._person >= 0))

    def overview(self) -> dict[str, Any]:
        """What the page needs at its start."""
        counts = np.bincount(self.index.label, minlength=len(LABELS))
        return {
            "file": self.index.path.name,
            "total": len(self.index),
            "decided": self.done,
            "journal": self.journal.length,
            "judges": self.index.judges,
            "labels": {label: int(n) for label, n in zip(LABELS, counts, strict=True) if n},
        }

    def find(self, query: Query) -> dict[str, Any]:
        """Positions that a query asks for, and a digit for each: 1 is decided."""
        found = self.index.find(query, self._person)
        digits = np.where(self._person[found] >= 0, ord("1"), ord("0")).astype(np.uint8)
        return {"positions": found.tolist(), "decided": digits.tobytes().decode("ascii")}

    def rows(self, positions: Sequence[int]) -> list[dict[str, Any]]:
        """A few dialogues as the list shows them."""
        return [self._row(position, self.index.read(position)) for position in positions]

    def dialogue(self, position: int) -> dict[str, Any]:
        """Everything about one dialogue. shown: the decision as it stands, or what confirming would make it.

        version: of what stands.
        """
        judged = self.index.read(position)
        known = [text for v in judged.verdicts for text in v.expected] + list(judged.expected)
        row = judged.row()
        person = self._decision(position, judged)
        shown = decided(judged, person) if person else judged
        return self._row(position, judged) | {
            "version": _version(person),
            "messages": _turns(row["messages"]),
            "verdicts": row["verdicts"],
            "panel": row.get("decision") if judged.decision and judged.decision.judge != PERSON else None,
            "subject": judged.dialogue.subject,
            "known": list(dict.fromkeys([*judged.dialogue.expected, *known])),
            "shown": {
                "label": shown.label,
                "spans": [[s.start, s.end] for s in shown.spans],
                "expected": list(shown.expected),
                "reason": person.reason if person else "",
            },
        }

    def decide(
        self, position: int, identity: str, row: Mapping[str, Any], *, version: str | None = None
    ) -> dict[str, Any]:
        """Keep a person's decision; the same one again changes nothing. version: of the decision that was in sight.

        Raises:
            InputError: no such dialogue, or a decision that cannot be one. ChangedError: another one stands by now.
            OutputError: it could not be saved.
        """
        judged = self.index.read(position)
        if judged.dialogue.id != identity:
            raise InputError(f"dialogue {position} is another one", remedy="Load the page again.")
        verdict, standing = decision(row), self._decision(position, judged)
        decided(judged, verdict)  # refuses spans outside the response
        if verdict != standing:
            if version not in (None, _version(standing)):
                said = f"decided {standing.label}" if standing else "taken back"
                fault = f"Not saved: meanwhile this was {said} elsewhere"
                remedy = "Decide again to overrule that; Esc shows it whole."
                raise ChangedError(fault, self.dialogue(position), remedy=remedy)
            self.journal.decide(position, identity, verdict)
            self._person[position] = LABELS.index(verdict.label)
        return self._state(position)

    def undo(self, *, journal: int | None = None) -> dict[str, Any]:
        """Take the last decision back. journal: its length when that decision was in sight.

        Raises:
            InputError: there is none. ChangedError: another one is the last by now.
            OutputError: this could not be saved.
        """
        last = self.journal.decisions.last
        if last is not None and journal not in (None, self.journal.length):
            fault, remedy = "Not undone: meanwhile this was decided elsewhere", "Undo again to take that back."
            raise ChangedError(fault, self.dialogue(last) | {"journal": self.journal.length}, remedy=remedy)
        position = self.journal.undo()
        left = self.journal.decisions.now.get(position)
        self._person[position] = LABELS.index(left[1].label) if left else self.index.person[position]
        return self._state(position)

    def close(self) -> None:
        """Close both files."""
        self.journal.close()
        self.index.close()

    def _decision(self, position: int, judged: Judged) -> Verdict | None:
        """The person's: of the journal, else of the verdict file itself."""
        if kept := self.journal.decisions.now.get(position):
            return kept[1]
        return judged.decision if judged.decision and judged.decision.judge == PERSON else None

    def _state(self, position: int) -> dict[str, Any]:
        label = int(self._person[position])
        return {"position": position, "person": LABELS[label] if label >= 0 else None, "decided": self.done}

    def _row(self, position: int, judged: Judged) -> dict[str, Any]:
        return self._state(position) | {
            "id": judged.dialogue.id,
            "label": judged.label,
            "score": round(judged.verdict.score, 6),
            "question": judged.dialogue.question[:_PREVIEW],
        }


def _turns(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As the page shows them: a thought before its answer, and the last of them what is under review."""
    thought = messages[-1].get("reasoning_content")
    if thought is None:
        return messages
    last = [] if messages[-1]["content"] is None else [{"role": "assistant", "content": messages[-1]["content"]}]
    return [*messages[:-1], {"role": "thought", "content": thought}, *last]


def _version(standing: Verdict | None) -> str:
    return digest(json.dumps(decision_row(standing)) if standing else "")[:16]


def reviewed(path: Path, *, progress: Progress | None = None) -> Iterator[tuple[bool, Judged]]:
    """(whether decided here, verdicts) of a verdict file, in order, with the decisions of its journal in their place.

    Raises:
        InputError: as `read_judged` and `read_decisions`; or a decision is about another dialogue than its id says.
    """
    digest, rows = read_judged(path, progress=progress)
    journal = journal_path(path)
    decisions = read_decisions(journal, digest)
    for position, judged in enumerate(rows):
        if position not in decisions:
            yield False, judged
            continue
        identity, verdict = decisions[position]
        if identity != judged.dialogue.id:
            raise InputError(f"the decision over dialogue {position} is about another id", file=journal)
        yield True, decided(judged, verdict)
