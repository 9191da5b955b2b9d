"""Rows of dialogues wherever they lie: JSON Lines and CSV, perhaps .gz, Parquet, and `datasets` of the hub.

Rows come one after another, never all at once, so that a file may be larger than the memory.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any

from expunge import hub
from expunge.errors import InputError, MissingExtraError
from expunge.files import SURROGATE, exists, open_bytes, read_jsonl

Row = tuple[int, Mapping[str, Any]]
"""The line (or the number of the row, from 1, where there are no lines), and the row."""

JSON_LINES = (".jsonl", ".json", ".ndjson")
FORMATS = (*JSON_LINES, ".csv", ".parquet")
_SLICED = re.compile(rf"(.+(?:{'|'.join(map(re.escape, FORMATS))})(?:\.gz)?)\[(.*)\]")
_CELL = 2**27  # characters in a cell of CSV
_LISTS = ("messages", "verdicts", "prompt", "question", "expected", "perturbed_answer")
"""Columns that may hold a list; in any other, what looks like one is what somebody said."""


def read_rows(source: str | Path) -> list[Row]:
    """All of `stream_rows`.

    Raises:
        InputError: as `stream_rows`.
    """
    return list(stream_rows(source))


def stream_rows(source: str | Path) -> Iterator[Row]:
    """Rows of a file (.jsonl, .json, .ndjson, .csv, each perhaps .gz; .parquet) or a `datasets` name ("org/name:a").

    A slice may follow a file's name, as in "data.jsonl[100:200]" (rows, 0-based, the end excluded).

    Raises:
        InputError: no such file, an empty one, a row that cannot be read (file and line named), or an empty slice.
    """
    name, rows = unsliced(source)
    path = Path(name)
    found = False
    for row in islice(_rows(name, path), rows.start, rows.stop):
        found = True
        yield row
    if not found and rows == slice(None):
        raise InputError("the file is empty", file=path, remedy="Give at least one row.")
    if not found:
        raise InputError("no row lies in this slice", file=source, remedy="Check the slice.")


def _rows(name: str, path: Path) -> Iterator[Row]:
    if name == "-" and not exists(path):
        remedy = "Save the rows in a file and name that: it is read again when a command goes on."
        raise InputError("dialogues are not read from standard input (-)", remedy=remedy)
    kind = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    if kind == ".csv":
        return _csv_rows(path)
    if kind == ".parquet":
        return _parquet_rows(path)
    return read_jsonl(path, halves=True) if kind in JSON_LINES or exists(path) else _hub_rows(name)


def unsliced(source: str | Path) -> tuple[str, slice]:
    """The name without its slice, and the slice.

    Raises:
        InputError: a slice that is none.
    """
    cut = _SLICED.fullmatch(str(source))
    if not cut:
        return str(source), slice(None)
    bounds = re.fullmatch(r"([0-9]{0,18}):([0-9]{0,18})", cut[2])
    if not bounds:
        remedy = "Write it as data.jsonl[100:200]: rows from 0, the end excluded."
        raise InputError("this slice cannot be used", file=source, remedy=remedy)
    start, stop = (int(n) if n else None for n in bounds.groups())
    return cut[1], slice(start, stop)


def _csv_rows(path: Path) -> Iterator[Row]:
    """Rows of a CSV file with a header; empty cells are left out, lists are JSON (see `_LISTS`)."""
    csv.field_size_limit(_CELL)
    with open_bytes(path) as file:
        reader = csv.DictReader(_csv_lines(file, path), strict=True)
        try:
            _check_header(reader.fieldnames or (), path)
            for row in reader:
                if None in row or None in row.values():
                    fault = "more cells than the header" if None in row else "fewer cells than the header"
                    remedy = "Quote texts that hold commas, quotes or line breaks."
                    raise InputError(f"a row with {fault}", file=path, line=reader.line_num, remedy=remedy)
                yield reader.line_num, {k: _cell(k, v) for k, v in row.items() if v.strip()}
        except csv.Error as error:
            remedy = "Quote texts that hold commas, quotes or line breaks; the row begins on this line."
            raise InputError(f"not valid CSV ({error})", file=path, line=reader.line_num + 1, remedy=remedy) from None
        except (EOFError, gzip.BadGzipFile, zlib.error):
            raise InputError("the compressed file is damaged", file=path, line=reader.line_num + 1) from None
    if reader.line_num <= 1:
        raise InputError("the file is empty", file=path, remedy="Give a header and at least one row.")


def _csv_lines(file: IO[bytes], path: Path) -> Iterator[str]:
    """The lines of a file, with or without byte order mark; text is decoded in pieces, so each is looked at."""
    with io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        for number, line in enumerate(text, start=1):
            if not line.isascii() and SURROGATE.search(line):
                raise InputError("not UTF-8 text", file=path, line=number, remedy="Save the file as UTF-8.")
            yield line


def _check_header(names: Sequence[str], path: Path) -> None:
    """Names are not told: without a header they would be what somebody said.

    Raises: InputError: columns are told apart by something else than commas, or two have one name.
    """
    for mark, found in (("semicolons", ";"), ("tabs", "\t"), ("bars", "|")):
        if len(names) == 1 and found in names[0]:
            remedy = "Save the file again with commas between the columns, texts that hold commas in quotes."
            raise InputError(f"the header is one column, which holds {mark}", file=path, line=1, remedy=remedy)
    twice = next((i for i, name in enumerate(names) if name and name in names[:i]), None)
    if twice is not None:
        fault = f"the columns {names.index(names[twice]) + 1} and {twice + 1} have the same name"
        raise InputError(fault, file=path, line=1, remedy="Rename or remove one; the first line is the header.")


def _cell(column: str, text: str) -> Any:
    if column not in _LISTS or not text.lstrip().startswith("["):
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if column in ("messages", "verdicts"):
        return value
    if column in ("prompt", "question"):
        return value if value and all(isinstance(item, dict) and "role" in item for item in value) else text
    return value if all(isinstance(item, str) for item in value) else text


def _parquet_rows(path: Path) -> Iterator[Row]:
    if not exists(path):
        raise InputError("there is no such file", file=path, remedy="Check the path.")
    if path.suffix == ".gz":
        remedy = "Unpack it: Parquet is compressed in itself."
        raise InputError("Parquet inside of .gz is not read", file=path, remedy=remedy)
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise MissingExtraError("pyarrow", "datasets", f"reading {path}") from None
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    yield number, {k: v for k, v in row.items() if v is not None}
    except UnicodeDecodeError:
        raise InputError("not UTF-8 text", file=path, remedy="Save its texts as UTF-8.") from None
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"not a Parquet file that can be read ({type(error).__name__})", file=path) from None
    if not number:
        raise InputError("the file is empty", file=path, remedy="Give at least one row.")


def _hub_rows(name: str) -> Iterator[Row]:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+(:.+)?", name) or name.startswith("."):
        raise InputError("there is no such file", file=name, remedy="Check the path.")
    repository, _, split = name.partition(":")
    return hub_rows(repository, split or "train")


def hub_rows(repository: str, split: str, config: str | None = None) -> Iterator[Row]:
    """Rows of one split of a dataset on the hub, of one of its configurations where it has several, as a stream.

    Raises:
        InputError: it cannot be loaded.
        MissingExtraError: `datasets` is not installed.
    """
    name = f"{repository}/{config}:{split}" if config else f"{repository}:{split}"
    hub.ready(repository)
    try:
        from datasets import load_dataset
    except ImportError:
        purpose = f"there is no file {repository!r} here, and reading a dataset of that name from the hub"
        raise MissingExtraError("datasets", "datasets", purpose) from None
    try:
        data = load_dataset(repository, config, split=split, streaming=True)
        yield from enumerate(data, start=1)
    except Exception as error:
        fault = f"cannot load the dataset {name!r} ({hub.lack(repository) or type(error).__name__})"
        raise InputError(fault, remedy="Check name and split.") from None
