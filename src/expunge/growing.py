"""Files of lines that several processes may add to at once; a line torn by a crash is no line."""

from __future__ import annotations

import os
from pathlib import Path

from expunge.files import PRIVATE, lock


def whole_lines(path: Path) -> tuple[list[bytes], bytes]:
    """The lines of a file, and what stands after the last line's end: a torn one, or one that is being written.

    Raises:
        OSError: it cannot be read.
    """
    *lines, rest = path.read_bytes().split(b"\n")
    return lines, rest


def add_lines(path: Path, text: str) -> None:
    """Append whole lines (mode 0600), after those that others have added, and in the place of a torn one.

    Raises:
        OSError: they cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, PRIVATE)
    try:
        lock(handle, wait=True)
        path.chmod(PRIVATE)
        end = os.fstat(handle).st_size
        if end and os.pread(handle, 1, end - 1) != b"\n":
            os.ftruncate(handle, end - len(whole_lines(path)[1]))
        data = text.encode()
        while data:
            data = data[os.write(handle, data) :]
    finally:
        os.close(handle)
