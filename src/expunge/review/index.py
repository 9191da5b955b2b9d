"""Verdict files by byte offset: what is filtered by lies in small arrays, the dialogues stay in the file."""

from __future__ import annotations

import hashlib
import json
import os
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from expunge.errors import InputError
from expunge.judges.verdict import LABELS, PERSON, Judged, Label, parse_judged
from expunge.progress import Progress, Quiet

Status = Literal["", "undecided", "decided", "overruled"]
_BOM = b"\xef\xbb\xbf"
_STEP = 1 << 20


@dataclass(frozen=True, slots=True)
class Query:
    """Which dialogues to show; every field narrows, and its default does not.

    label, low, high: label and score range of the decisive verdict in the file. judge: name of one that flags.
    disagreement: only those over which judges that can tell differ. status: what the person has said so far;
    `overruled` is decided against the label in the file.
    """

    label: Label | Literal[""] = ""
    low: float = 0.0
    high: float = 1.0
    judge: str = ""
    disagreement: bool = False
    status: Status = ""


class Index:
    """A verdict file, opened: about 30 bytes in memory a dialogue, whatever its length. Every row is checked once.

    Raises:
        InputError: no such file, an empty one, a line that is half-written or no JSON, or a row without valid verdicts.
    """

    def __init__(self, path: Path, *, progress: Progress | None = None) -> None:
        self.path = path
        self._file = _opened(path)
        self._stamp = self._now()
        columns = _Columns()
        sha = hashlib.sha256()
        with (progress or Quiet()).stage("Reading", os.fstat(self._file.fileno()).st_size) as advance:
            for number, offset, line in _lines(self._file, sha, advance):
                columns.add(_judged(line, path, number), number, offset)
        if not columns.offset:
            raise InputError("the file is empty", file=path, remedy="Write the file with `expunge scan`.")
        self.digest = sha.hexdigest()
        self._offset, self._line = np.array(columns.offset), np.array(columns.line)
        self.label, self.score = np.array(columns.label), np.array(columns.score)
        self.person, self._disagreement = np.array(columns.person), np.array(columns.disagreement, dtype=bool)
        self._flaggers, self._sets = np.array(columns.flaggers), list(columns.sets)
        self.judges = tuple(sorted(columns.judges))

    def __len__(self) -> int:
        return len(self._offset)

    def read(self, position: int) -> Judged:
        """The dialogue at a place of the file, counted from 0.

        Raises:
            InputError: there is no such place, or the file was changed after it was opened.
        """
        if not 0 <= position < len(self):
            raise InputError(f"there is no dialogue {position}", file=self.path)
        if self._now() != self._stamp:
            remedy = "Stop, and start `expunge review` again."
            raise InputError("this file was changed after the review was opened", file=self.path, remedy=remedy)
        self._file.seek(int(self._offset[position]))
        return _judged(self._file.readline(), self.path, int(self._line[position]))

    def find(self, query: Query, person: npt.NDArray[np.int8]) -> npt.NDArray[np.intp]:
        """Places that a query asks for; `person`: the number of the person's label for each place, or -1."""
        keep = (self.score >= query.low) & (self.score <= query.high)
        if query.label:
            keep &= self.label == LABELS.index(query.label)
        if query.judge:
            flagged = [query.judge in names for names in self._sets]
            keep &= np.array(flagged)[self._flaggers]
        if query.disagreement:
            keep &= self._disagreement
        if query.status == "undecided":
            keep &= person < 0
        elif query.status:
            keep &= person >= 0
        if query.status == "overruled":
            keep &= person != self.label
        return np.flatnonzero(keep)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _now(self) -> tuple[int, int]:
        stat = os.fstat(self._file.fileno())
        return stat.st_size, stat.st_mtime_ns


def read_judged(path: Path, *, progress: Progress | None = None) -> tuple[str, Iterator[Judged]]:
    """The SHA-256 of a verdict file, and its rows one after another.

    Raises:
        InputError: no such file; while the rows come, as `Index`.
    """
    file = _opened(path)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(0)

    def rows() -> Iterator[Judged]:
        with file, (progress or Quiet()).stage("Writing", path.stat().st_size) as advance:
            for number, _, line in _lines(file, hashlib.sha256(), advance):
                yield _judged(line, path, number)

    return digest, rows()


class _Columns:
    """The arrays while they grow. Sets of flagging judges are few: each row keeps the number of its own."""

    def __init__(self) -> None:
        self.offset, self.line, self.label, self.score = array("q"), array("i"), array("b"), array("d")
        self.person, self.disagreement, self.flaggers = array("b"), array("b"), array("i")
        self.sets: dict[frozenset[str], int] = {}
        self.judges: set[str] = set()

    def add(self, judged: Judged, line: int, offset: int) -> None:
        verdict = judged.verdict
        self.offset.append(offset)
        self.line.append(line)
        self.label.append(LABELS.index(verdict.label))
        self.score.append(verdict.score)
        self.person.append(LABELS.index(verdict.label) if verdict.judge == PERSON else -1)
        self.disagreement.append(len({v.label for v in judged.verdicts if v.label != "unknown"}) > 1)
        flaggers = frozenset(v.judge for v in judged.verdicts if v.flagged)
        self.flaggers.append(self.sets.setdefault(flaggers, len(self.sets)))
        self.judges.update(v.judge for v in judged.verdicts)


def _opened(path: Path) -> BufferedReader:
    try:
        return path.open("rb")
    except OSError as error:
        missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        fault = "there is no such file" if missing else f"cannot be read ({error.strerror})"
        raise InputError(fault, file=path, remedy="Check the path.") from None


def _lines(file: BufferedReader, sha: Any, advance: Callable[[int], None]) -> Iterator[tuple[int, int, bytes]]:
    """(number, offset, bytes) of every line that is not blank."""
    offset = behind = 0
    for number, line in enumerate(file, start=1):
        sha.update(line)
        start, offset = offset, offset + len(line)
        if number == 1 and line.startswith(_BOM):
            start, line = start + len(_BOM), line[len(_BOM) :]
        if line.strip():
            yield number, start, line
        if offset - behind >= _STEP:
            advance(offset - behind)
            behind = offset
    advance(offset - behind)


def _judged(line: bytes, path: Path, number: int) -> Judged:
    try:
        row = json.loads(line.decode())
    except (ValueError, RecursionError):
        if not line.endswith(b"\n"):
            fault, remedy = "this last line is half-written", "Write the file again with `expunge scan`."
        else:
            fault, remedy = "not a line of JSON in UTF-8", "Each line is one JSON object; `expunge scan` writes them."
        raise InputError(fault, file=path, line=number, remedy=remedy) from None
    if not isinstance(row, dict):
        fault = f"a JSON object was expected, not {type(row).__name__}"
        raise InputError(fault, file=path, line=number, remedy="Write the file with `expunge scan`.")
    return parse_judged(row, file=path, line=number)
