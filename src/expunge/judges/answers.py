"""Answers that a server has already given: none is asked, or paid, for twice."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

from expunge.errors import InputError, OutputError
from expunge.files import PRIVATE, check_writable, exists


class Answers:
    """Answers by key, in memory and, where a file is named, one JSON line each as they come (mode 0600).

    A line torn by a crash is dropped when the file is next opened.

    Raises:
        InputError: the file holds something else. OutputError: it cannot be written.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path, self._handle = path, -1
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
                self._append(self._path, json.dumps({"key": key, "answer": answer}) + "\n")

    def _append(self, path: Path, line: str) -> None:
        try:
            if self._handle < 0:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE)
                path.chmod(PRIVATE)
            data = line.encode()
            while data:
                data = data[os.write(self._handle, data) :]
        except OSError as error:
            remedy = "Choose another `cache`, or free it."
            raise OutputError(f"cannot write here ({error.strerror})", file=path, remedy=remedy) from None

    def __del__(self) -> None:
        if getattr(self, "_handle", -1) >= 0:
            os.close(self._handle)


_BEGIN = b'{"key": "'


def _read(path: Path) -> dict[str, str]:
    try:
        data = path.read_bytes()
        *lines, torn = data.split(b"\n")
        rows = [_row(line, path, number) for number, line in enumerate(lines, start=1)]
        if torn:
            if torn[: len(_BEGIN)] != _BEGIN[: len(torn)]:  # not ours: leave it as it is
                _row(torn, path, len(lines) + 1)
            os.truncate(path, len(data) - len(torn))
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=path, remedy="Choose another `cache`.") from None
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
