"""Blocks: so many rows in a row, judged together, and the unit in which a scan is done, shared out and resumed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from expunge.dialogue import Dialogue, parse
from expunge.files import digest
from expunge.judges.panel import judge_all
from expunge.judges.verdict import Judge, Judged, Verdict
from expunge.scan.asking import Asking

SIZE = 256
REMEMBERED = 500_000  # distinct dialogues whose verdicts are kept, for equal ones to come

Line = tuple[str, int, Mapping[str, Any]]
"""File, line, row."""


@dataclass(frozen=True, slots=True)
class Block:
    """A block as judged.

    text: its rows of the verdict file. content: digest of the rows read, by which a resumed scan knows them. read,
    written: rows of the source, and of the verdict file. silent: prompts that the model answered with nothing. labels:
    how many of each. votes: how often the judges answered together as the key says, their labels joined by commas.
    ids: (id, content) of each dialogue as 64-bit hashes, with file and line.
    """

    text: str
    content: str
    read: int
    written: int
    silent: int
    labels: Counter[str] = field(default_factory=Counter)
    votes: Counter[str] = field(default_factory=Counter)
    ids: tuple[tuple[int, int, str, int], ...] = ()


class BlockJudge:
    """Judges blocks; equal dialogues (the same messages) once, as long as their verdicts are remembered."""

    def __init__(self, judges: Sequence[Judge], asking: Asking | None = None) -> None:
        self._judges, self._asking = judges, asking
        self._known: dict[str, tuple[tuple[Verdict, ...], Verdict | None]] = {}
        self._shared: dict[Any, Any] = {}

    def judge(self, number: int, lines: Sequence[Line]) -> Block:
        """The block of this number (from 0).

        Raises:
            InputError: a row that is no dialogue, a prompt without a model to answer it, or what a judge raises.
        """
        dialogues = [parse(row, file=file, line=line) for file, line, row in lines]
        answered, silent = self._asking.answered(dialogues, number) if self._asking else (dialogues, 0)
        judged = self._verdicts(answered)
        return Block(
            text="".join(json.dumps(item.row(), ensure_ascii=False) + "\n" for item in judged),
            content=content_of(lines),
            read=len(lines),
            written=len(judged),
            silent=silent,
            labels=Counter(item.label for item in judged),
            votes=Counter(",".join(v.label for v in item.verdicts) for item in judged),
            ids=own_ids(lines, dialogues),
        )

    def _verdicts(self, dialogues: Sequence[Dialogue]) -> list[Judged]:
        keys = [d.content_id for d in dialogues]
        fresh = {key: d for key, d in zip(keys, dialogues, strict=True) if key not in self._known}
        for key, item in zip(fresh, judge_all(self._judges, list(fresh.values())), strict=True):
            found = (item.verdicts, item.decision)
            self._known[key] = self._shared.setdefault(found, found) if not any(v.spans for v in found[0]) else found
        judged = [Judged(d, *self._known[key]) for key, d in zip(keys, dialogues, strict=True)]
        if len(self._known) > REMEMBERED:
            self._known.clear()
            self._shared.clear()
        return judged


def own_ids(lines: Sequence[Line], dialogues: Sequence[Dialogue]) -> tuple[tuple[int, int, str, int], ...]:
    """What `Block.ids` holds: of rows that have an id of their own."""
    return tuple(
        (int(digest(d.id)[:16], 16), int(d.content_id, 16), file, line)
        for (file, line, row), d in zip(lines, dialogues, strict=True)
        if row.get("id") is not None
    )


def content_of(lines: Sequence[Line]) -> str:
    """Digest of rows and of where they lie."""
    return digest(*(f"{file}:{line}:{json.dumps(row)}" for file, line, row in lines))
