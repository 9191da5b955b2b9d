"""Rows of a benchmark: of a dataset on the hub, or of a folder whose files are named as the dataset's parts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from expunge.dialogue import Dialogue
from expunge.errors import InputError
from expunge.files import exists
from expunge.message import Message
from expunge.sources import FORMATS, hub_rows, stream_rows

_SUFFIXES = tuple(f"{kind}{packed}" for kind in FORMATS for packed in ("", ".gz") if kind != ".parquet" or not packed)
_HUB = re.compile(r"\w[\w.-]*/[\w.-]+")


@dataclass(frozen=True, slots=True)
class Item:
    """A row, and where it was read: a file and its line, or a dataset's part and the row's number from 1."""

    values: Mapping[str, Any]
    file: str
    line: int

    def text(self, column: str) -> str:
        """The text of a column.

        Raises:
            InputError: there is no such column, or it holds no text.
        """
        return self._checked(self._value(column), column)

    def texts(self, column: str) -> tuple[str, ...]:
        """The texts of a column that holds a list of them, or one.

        Raises:
            InputError: there is no such column, or it holds no texts.
        """
        value = self._value(column)
        found = tuple(self._checked(v, column) for v in (value if isinstance(value, list) else [value]))
        if not found:
            raise self._error(f"the column {column!r} is an empty list", "Give at least one text.")
        return found

    def asked(self, prompt: str, response: str) -> Dialogue:
        """The prompt with a response, as a dialogue that errors call by this row's place."""
        return Dialogue((Message("user", prompt), Message("assistant", response)), source=f"{self.file}:{self.line}")

    def _value(self, column: str) -> Any:
        if self.values.get(column) is None:
            raise self._error(f"this row has no column {column!r}", "Give the benchmark's own rows.")
        return self.values[column]

    def _checked(self, value: Any, column: str) -> str:
        if not isinstance(value, str) or not value.strip():
            raise self._error(f"the column {column!r} holds no text", "Give the benchmark's own rows.")
        try:
            value.encode()
        except UnicodeEncodeError:
            fault = f"the column {column!r} holds half a character (a lone surrogate)"
            raise self._error(fault, "Write it again as UTF-8.") from None
        return value

    def _error(self, message: str, remedy: str) -> InputError:
        return InputError(message, file=self.file, line=self.line, remedy=remedy)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a benchmark's rows lie.

    name: a folder, or a dataset of the hub. limit: how many rows of each part are read, the first ones; None: all.
    """

    name: str
    limit: int | None = None

    def items(self, config: str, split: str, *, file: str = "") -> list[Item]:
        """The rows of one part of the dataset; in a folder, of `file` (default: `config`) with any known suffix.

        Raises:
            InputError: there is no such part, or it cannot be read.
            MissingExtraError: a dataset of the hub without `datasets` installed.
        """
        if not exists(Path(self.name)):
            if not _HUB.fullmatch(self.name):
                remedy = "Check the path, or give the name of a dataset on the hub."
                raise InputError("there is no such folder", file=self.name, remedy=remedy)
            rows, place = hub_rows(self.name, split, config), f"{self.name}/{config}:{split}"
        else:
            path = self._path(file or config)
            if path is None:
                raise InputError(
                    f"there is no {file or config}.jsonl in this folder",
                    file=self.name,
                    remedy="Name its files as the parts of the dataset on the hub; .csv and .parquet are read too.",
                )
            rows, place = stream_rows(path), str(path)
        return [Item(row, place, line) for line, row in islice(rows, self.limit)]

    def lacks(self, file: str) -> bool:
        """Whether this is a folder without such a file."""
        return exists(Path(self.name)) and self._path(file) is None

    def _path(self, file: str) -> Path | None:
        places = (Path(self.name) / f"{file}{suffix}" for suffix in _SUFFIXES)
        return next((path for path in places if exists(path)), None)
