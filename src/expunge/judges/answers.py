"""Answers that a server has already given: none is asked, or paid, for twice."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from expunge.errors import InputError
from expunge.files import check_writable, exists, writing
from expunge.growing import add_lines, whole_lines


class Answers:
    """Answers by key, in memory and, where a file is named, one JSON line each as they come (mode 0600).

    A line torn by a crash is dropped. Several processes may share the file; each knows what was there when it began.

    Raises:
        InputError: the file holds something else. OutputError: it cannot be written.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._known: dict[str, str] = {}
        if path:
            check_writable(path)
            if exists(path):
                self._known = _read(path)

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: str) -> str | None:
        return self._known.get(key)

    def add(self, key: str, answer: str) -> None:
        with self._lock:
            self._known[key] = answer
            if self._path:
                with writing(self._path, "Choose another `cache`, or free it."):
                    add_lines(self._path, json.dumps({"key": key, "answer": answer}) + "\n")


_BEGIN = b'{"key": "'


def _read(path: Path) -> dict[str, str]:
    try:
        lines, torn = whole_lines(path)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=path, remedy="Choose another `cache`.") from None
    rows = [_row(line, path, number) for number, line in enumerate(lines, start=1)]
    if torn[: len(_BEGIN)] != _BEGIN[: len(torn)]:  # not ours: leave it as it is
        _row(torn, path, len(lines) + 1)
    return dict(rows)


def _row(line: bytes, path: Path, number: int) -> tuple[str, str]:
    try:
        row = json.loads(line) if line.startswith(_BEGIN) else {}
        key, answer = row["key"], row["answer"]
    except (ValueError, KeyError, TypeError, RecursionError):
        key = answer = None
    if not isinstance(key, str) or not isinstance(answer, str):
        raise InputError("this file holds no answers of a judge", file=path, line=number, remedy="Choose another one.")
    return key, answer
