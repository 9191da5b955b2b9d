"""Blocks: so many rows in a row, judged together, and the unit in which a scan is done, shared out and resumed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from expunge.dialogue import Dialogue, parse
from expunge.errors import InputError
from expunge.files import digest
from expunge.judges.panel import check_answered, judge_each
from expunge.judges.thoughts import judge_with_thoughts
from expunge.judges.verdict import Judge, Judged, Verdict
from expunge.scan.asking import Asking

if TYPE_CHECKING:
    from expunge.encoding import ChatFormat

SIZE = 256
REMEMBERED = 500_000  # distinct dialogues whose verdicts are kept, for equal ones to come
ENCODE = json.JSONEncoder(ensure_ascii=False, check_circular=False).encode

Line = tuple[str, int, Mapping[str, Any]]
"""File, line, row."""

Aside = tuple[str, int, str]
"""File and line of a row that cannot be used, and why."""

SetAside = Callable[[], "ChatFormat | None"]
"""Rows that cannot be used are set aside: no dialogues, and what the model cannot read, where its format is known."""


@dataclass(frozen=True, slots=True)
class Block:
    """A block as judged.

    text: its rows of the verdict file. content: digest of the rows read, by which a resumed scan knows them. read,
    written: rows of the source, and of the verdict file. silent: prompts that the model answered with nothing. labels:
    how many of each. votes: how often the judges answered together as the key says, their labels joined by commas.
    aside: rows that cannot be used, see `Aside`. ids: (id, content) of each dialogue as 64-bit hashes, with file and
    line.
    """

    text: str
    content: str
    read: int
    written: int
    silent: int
    labels: Counter[str] = field(default_factory=Counter)
    votes: Counter[str] = field(default_factory=Counter)
    aside: tuple[Aside, ...] = ()
    ids: tuple[tuple[int, int, str, int], ...] = ()


class BlockJudge:
    """Judges blocks; equal dialogues (the same messages) once, as long as their verdicts are remembered."""

    def __init__(
        self, judges: Sequence[Judge], asking: Asking | None = None, set_aside: SetAside | None = None
    ) -> None:
        self._judges, self._asking = judges, asking
        self._set_aside, self._chat = set_aside is not None, set_aside() if set_aside else None
        self._known: dict[str, _Found] = {}
        self._shared: dict[tuple[tuple[Verdict, ...], Verdict | None], _Found] = {}

    def judge(self, number: int, lines: Sequence[Line]) -> Block:
        """The block of this number (from 0).

        Raises:
            InputError: a row that is no dialogue, if such are not set aside, a prompt without a model to answer it, or
                what a judge raises.
        """
        read, dialogues, aside = self._usable(lines)
        keys = content_ids(read, dialogues)
        answered, silent = self._asking.answered(dialogues, number) if self._asking else (dialogues, 0)
        if any(d.thought for d in answered):
            judged = judge_with_thoughts(self._judges, answered)
            answered, found = [item.dialogue for item in judged], [_Found.of(item) for item in judged]
        else:
            found = self._found(answered, keys if answered is dialogues else [d.content_id for d in answered])
        return Block(
            text="".join(ENCODE(d.row())[:-1] + f.tail for d, f in zip(answered, found, strict=True)),
            content=content_of(lines),
            read=len(lines),
            written=len(found),
            silent=silent,
            labels=Counter(f.label for f in found),
            votes=Counter(f.votes for f in found),
            aside=tuple(aside),
            ids=own_ids(read, dialogues, keys),
        )

    def _usable(self, lines: Sequence[Line]) -> tuple[list[Line], list[Dialogue], list[Aside]]:
        """The rows that can be used, their dialogues, and the other rows.

        Raises:
            InputError: there are other rows, and they are not to be set aside.
        """
        read, dialogues, aside = list[Line](), list[Dialogue](), list[Aside]()
        for item in lines:
            file, line, row = item
            try:
                dialogue = parse(row, file=file, line=line)
                if not self._asking and dialogue.response is None:
                    check_answered([dialogue])
                if self._chat:
                    self._chat.encode_prompt(dialogue) if dialogue.response is None else self._chat.encode(dialogue)
            except InputError as error:
                if not self._set_aside:
                    way = "--set-aside (`set_aside = true` in a recipe) leaves such rows out and lists them."
                    raise InputError(error.message, remedy=f"{error.remedy} Or go on: {way}".strip()) from None
                aside.append((file, line, error.message.removeprefix(f"{file}:{line}: ")))
            else:
                read.append(item)
                dialogues.append(dialogue)
        return read, dialogues, aside

    def _found(self, dialogues: Sequence[Dialogue], keys: Sequence[str]) -> list[_Found]:
        fresh = {key: d for key, d in zip(keys, dialogues, strict=True) if key not in self._known}
        for key, item in zip(fresh, judge_each(self._judges, list(fresh.values())), strict=True):
            said = (item.verdicts, item.decision)
            found = self._shared.get(said)
            if found is None:
                found = self._shared[said] = _Found.of(item)
            self._known[key] = found
        here = [self._known[key] for key in keys]
        if len(self._known) > REMEMBERED:
            self._known.clear()
            self._shared.clear()
        return here


class _Found(NamedTuple):
    """What judges said, as it is written: most dialogues share one. tail: the end of the row, after the dialogue."""

    label: str
    votes: str
    tail: str

    @classmethod
    def of(cls, item: Judged) -> _Found:
        judgement = item.judgement()
        votes = ",".join(v.label for v in item.verdicts)
        return cls(judgement["label"], votes, ", " + ENCODE(judgement)[1:] + "\n")


def content_ids(lines: Sequence[Line], dialogues: Sequence[Dialogue]) -> list[str]:
    """`Dialogue.content_id` of each, which is the id of a row that gives none."""
    return [d.id if row.get("id") is None else d.content_id for (_, _, row), d in zip(lines, dialogues, strict=True)]


def own_ids(
    lines: Sequence[Line], dialogues: Sequence[Dialogue], keys: Sequence[str]
) -> tuple[tuple[int, int, str, int], ...]:
    """What `Block.ids` holds: of rows that have an id of their own."""
    return tuple(
        (int(digest(d.id)[:16], 16), int(key, 16), file, line)
        for (file, line, row), d, key in zip(lines, dialogues, keys, strict=True)
        if row.get("id") is not None
    )


def content_of(lines: Sequence[Line]) -> str:
    """Digest of rows and of where they lie."""
    return digest(json.dumps(lines, default=str))
