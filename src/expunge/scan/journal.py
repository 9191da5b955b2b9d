"""A scan's unfinished file of verdicts, and what is needed to go on with it after any crash."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from expunge.differences import in_one_line
from expunge.errors import InputError, OutputError
from expunge.files import PRIVATE, file_digest, lock, make_folder, write_json, write_jsonl, writing
from expunge.scan.block import Block
from expunge.scan.identity import differing

SECONDS = 1.0
"""Blocks are made durable at most so often, and when the scan ends."""
_ROOM = "Make room; the same command goes on."

Entry = dict[str, Any]
"""What is kept of a block: content, read, written, silent, labels, votes, aside, and `bytes`, where it ends in the
file."""


@dataclass(slots=True)
class _Files:
    part: IO[bytes]
    state: IO[bytes]


class Journal:
    """`OUT.part` grows block by block; `OUT.part.state` says what the scan is, then one line a block that is safe.

    A line of the state is written only after its block is on the disk, so whatever a crash leaves behind it is cut off
    when the scan goes on. The lock is held as long as the journal is open.

    Raises:
        OutputError: `OUT` exists, cannot be written, or its unfinished scan is another one or in another process.
    """

    def __init__(self, out: Path, identity: Mapping[str, Any]) -> None:
        self.out = out
        self.part, self.state = out.with_name(out.name + ".part"), out.with_name(out.name + ".part.state")
        self.entries: list[Entry] = []
        self._identity = json.loads(json.dumps(identity))
        self._waiting: list[Entry] = []
        self._last = time.monotonic()

    def __enter__(self) -> Journal:
        if self.out.exists():
            raise OutputError(
                "this file exists; nothing was overwritten", file=self.out, remedy="Choose another --out."
            )
        make_folder(self.out.parent)
        with writing(self.out, "Choose another --out, or free it."):
            self._files = _Files(_opened(self.part), _opened(self.state))
        if not lock(self._files.state.fileno()):
            self._close()
            raise OutputError("another process is writing this file", file=self.out, remedy="Wait for it.")
        try:
            self._resume()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._waiting:
                self._commit()
            if not self.entries and self.state.exists():
                self.part.unlink()
                self.state.unlink()
        finally:
            self._close()

    def add(self, block: Block) -> None:
        """Append a block."""
        with writing(self.part, _ROOM):
            self._files.part.write(block.text.encode())
        end = self._files.part.tell()
        self._waiting.append(
            {
                "content": block.content,
                "read": block.read,
                "written": block.written,
                "silent": block.silent,
                "labels": block.labels,
                "votes": block.votes,
                "aside": block.aside,
                "bytes": end,
            }
        )
        if time.monotonic() - self._last >= SECONDS:
            self._commit()

    def finish(self, receipt: Mapping[str, Any] | None = None) -> None:
        """Give the file its name; beside it the rows set aside, and for a shard the receipt that `merge` reads."""
        self._commit()
        aside = [
            dict(zip(("file", "line", "why"), row, strict=True))
            for entry in self.entries
            for row in entry.get("aside", ())
        ]
        if aside:
            write_jsonl(aside_of(self.out), aside)
        else:  # of an earlier scan's file of that name
            aside_of(self.out).unlink(missing_ok=True)
        if receipt is not None:
            rows = [[entry["read"], entry["written"]] for entry in self.entries]
            content = {**receipt, "blocks": rows, "sha256": file_digest(self.part)}
            write_json(receipt_of(self.out), content)
        self.part.replace(self.out)
        self.state.unlink()

    def _commit(self) -> None:
        with writing(self.part, _ROOM):
            _durable(self._files.part)
            lines = (json.dumps(entry) + "\n" for entry in self._waiting)
            self._files.state.write("".join(lines).encode())
            _durable(self._files.state)
        self.entries += self._waiting
        self._waiting = []
        self._last = time.monotonic()

    def _resume(self) -> None:
        files = self._files
        lines = files.state.read().split(b"\n")[:-1]  # the last is empty, or cut off
        try:
            found = [_entry(line) for line in lines]
        except (ValueError, RecursionError):  # not JSON: some other file
            found = [{}]
        if lines and found[0] != self._identity:
            remedy = f"Give the same command again, choose another --out, or remove {self.part} and {self.state}."
            others = in_one_line(differing(found[0], self._identity))
            fault = f"an unfinished scan of other input, judges or settings: {others}"
            raise OutputError(fault, file=self.out, remedy=remedy)
        self.entries += found[1:]
        kept = b"".join(line + b"\n" for line in lines)
        files.state.truncate(len(kept))
        files.state.seek(len(kept))
        end = self.entries[-1]["bytes"] if self.entries else 0
        if end > files.part.seek(0, os.SEEK_END):
            raise InputError("the unfinished file was cut", file=self.part, remedy=f"Remove it and {self.state}.")
        files.part.truncate(end)
        files.part.seek(end)
        if not lines:
            files.state.write((json.dumps(self._identity) + "\n").encode())
            _durable(files.state)

    def _close(self) -> None:
        self._files.part.close()
        self._files.state.close()


def receipt_of(path: Path) -> Path:
    """Where the receipt of a shard's file lies."""
    return path.with_name(path.name + ".receipt")


def aside_of(path: Path) -> Path:
    """Where the rows lie that were set aside: file and line of each, and why."""
    return path.with_name(path.name + ".aside")


def _opened(path: Path) -> IO[bytes]:
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE), "r+b")
    path.chmod(PRIVATE)  # one that was there
    return file


def _durable(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _entry(line: bytes) -> Entry:
    entry: Entry = json.loads(line)
    return entry
