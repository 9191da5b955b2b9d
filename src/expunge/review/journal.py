"""The journal of decisions: one line each, on the disk before it counts; whatever is cut off, the rest is kept."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from expunge.errors import InputError, OutputError
from expunge.files import PRIVATE, lock
from expunge.judges.verdict import Verdict
from expunge.review.decision import decision, decision_row

_FORMAT = 1


def journal_path(verdicts: Path) -> Path:
    """Where the decisions over a verdict file are kept: beside it."""
    return verdicts.with_name(f"{verdicts.name}.decisions.jsonl")


class Decisions:
    """What stands after a number of decisions and undos."""

    def __init__(self) -> None:
        self.now: dict[int, tuple[str, Verdict]] = {}
        self._before: list[tuple[int, tuple[str, Verdict] | None]] = []

    def decide(self, position: int, identity: str, verdict: Verdict) -> None:
        """A decision, which may replace an earlier one."""
        self._before.append((position, self.now.get(position)))
        self.now[position] = (identity, verdict)

    def undo(self) -> int:
        """Take the last decision back; its position."""
        position, earlier = self._before.pop()
        if earlier is None:
            del self.now[position]
        else:
            self.now[position] = earlier
        return position

    @property
    def last(self) -> int | None:
        """The position that the next undo is about."""
        return self._before[-1][0] if self._before else None

    def apply(self, row: dict[str, Any]) -> None:
        """One line of the journal.

        Raises:
            InputError: it is none.
        """
        position, identity = row.get("position"), row.get("id")
        if type(position) is not int or position < 0 or not isinstance(identity, str):
            raise InputError("a decision needs position and id")
        if not row.get("undo"):
            self.decide(position, identity, decision(row))
        elif self.last == position:
            self.undo()
        else:
            raise InputError("this undo is not of the last decision")


class Journal:
    """The journal of one verdict file, open for writing by one review at a time. A missing one is begun.

    digest: of the verdict file. `note` says what was dropped at the start, if anything: a last line that was cut off.

    Raises:
        InputError: it belongs to another state of the verdict file, is damaged, or another review has it open.
        OutputError: it cannot be written.
    """

    def __init__(self, path: Path, digest: str) -> None:
        self.path, self.note = path, ""
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), PRIVATE)
        except OSError as error:
            raise OutputError(f"cannot write here ({error.strerror})", file=path, remedy="Free this path.") from None
        try:
            if not lock(self._file):
                remedy = "Go on in that one, or stop it first."
                raise InputError("another review has these verdicts open", file=path, remedy=remedy)
            path.chmod(PRIVATE)
            data = path.read_bytes()
            self._end = data.rfind(b"\n") + 1
            if self._end < len(data):
                self.note = f"{path}: the last line was cut off while being written, and is dropped"
                self._cut()
            self.decisions = _replayed(data[: self._end], path, digest)
            if not self._end:
                self._append({"verdicts": digest, "format": _FORMAT})
                _sync_folder(path.parent)
        except BaseException:
            self.close()
            raise

    def decide(self, position: int, identity: str, verdict: Verdict) -> None:
        """Keep a decision. It is on the disk when this returns.

        Raises:
            OutputError: it could not be saved; nothing has changed.
        """
        self._append({"position": position, "id": identity} | decision_row(verdict) | {"time": _time()})
        self.decisions.decide(position, identity, verdict)

    def undo(self) -> int:
        """Take the last decision back, also one of an earlier start; its position.

        Raises:
            InputError: there is none.
            OutputError: this could not be saved; nothing has changed.
        """
        position = self.decisions.last
        if position is None:
            raise InputError("there is no decision to undo")
        self._append({"position": position, "id": self.decisions.now[position][0], "undo": True, "time": _time()})
        return self.decisions.undo()

    @property
    def length(self) -> int:
        """In bytes: another after each decision and each undo."""
        return self._end

    def close(self) -> None:
        """Let another review open it."""
        os.close(self._file)

    def _append(self, row: dict[str, Any]) -> None:
        line = (json.dumps(row, ensure_ascii=False) + "\n").encode()
        try:
            self._cut()
            written = 0
            while written < len(line):
                written += os.write(self._file, line[written:])
            os.fsync(self._file)
        except OSError as error:
            with contextlib.suppress(OSError):  # else before the next line, or at the next start
                self._cut()
            fault = f"the decision could not be saved ({error.strerror})"
            raise OutputError(fault, file=self.path, remedy="Make room on the disk, then decide again.") from None
        self._end += len(line)

    def _cut(self) -> None:
        """Drop what stands behind the last line that counts, and go there."""
        os.ftruncate(self._file, self._end)
        os.lseek(self._file, self._end, os.SEEK_SET)


def read_decisions(path: Path, digest: str) -> dict[int, tuple[str, Verdict]]:
    """(id, decision) by position, without opening the journal for writing; a line still being written is passed over.

    Raises:
        InputError: there is no journal, it belongs to another state of the verdict file, or a line of it is damaged.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        remedy = "Start `expunge review` without --out first, and decide."
        raise InputError("there are no decisions yet", file=path, remedy=remedy) from None
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=path) from None
    return _replayed(data[: data.rfind(b"\n") + 1], path, digest).now


def _replayed(data: bytes, path: Path, digest: str) -> Decisions:
    decisions = Decisions()
    for number, row in _rows(data, path):
        if number == 1:
            if row.get("verdicts") != digest:
                message = "these decisions were made over other verdicts: the verdict file has changed since"
                remedy = "Bring the verdict file back as it was; or move this file away and begin anew."
                raise InputError(message, file=path, remedy=remedy)
            continue
        try:
            decisions.apply(row)
        except InputError as error:
            raise InputError(error.message, file=path, line=number, remedy=error.remedy) from None
    return decisions


def _rows(data: bytes, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(data.split(b"\n")[:-1], start=1):
        try:
            row = json.loads(line.decode())
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            remedy = "Bring the line back from a copy, or delete it: that one decision is to be made again."
            raise InputError("this line is damaged", file=path, line=number, remedy=remedy)
        yield number, row


def _time() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _sync_folder(folder: Path) -> None:
    """So that the new file's name is on the disk too."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
