"""Shards put together again, in the order of the source."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from expunge.differences import in_one_line
from expunge.errors import InputError, OutputError
from expunge.files import PRIVATE, file_digest, read_text, write_lines
from expunge.scan.identity import differing
from expunge.scan.journal import receipt_of


def merge(out: Path) -> int:
    """Write `out` from the shards beside it, as one scan of everything would have; the number of its rows.

    Raises:
        InputError: there are no shards, one is missing, unfinished or changed, or they are of different scans.
        OutputError: `out` exists or cannot be written.
    """
    if out.exists():
        raise OutputError("this file exists; nothing was overwritten", file=out, remedy="Choose another name.")
    shards = _shards(out)
    receipts = [_receipt(path) for path in shards]
    scans = [{k: r[k] for k in ("sources", "digests", "judges", "asking", "block")} for r in receipts]
    for path, found in zip(shards, scans, strict=True):
        if found != scans[0]:
            others = in_one_line(differing(scans[0], found))
            fault = f"this shard is of other input, judges or settings than {shards[0].name}: {others}"
            raise InputError(fault, file=path, remedy="Scan it again as the others, or remove those of another scan.")
    files = [path.open(encoding="utf-8", newline="\n") for path in shards]
    try:
        write_lines(out, _interleaved(files, [r["blocks"] for r in receipts]), mode=PRIVATE)
    finally:
        for file in files:
            file.close()
    return sum(written for r in receipts for _, written in r["blocks"])


def _interleaved(files: list[Any], blocks: list[list[list[int]]]) -> Iterator[str]:
    for turn in range(max(map(len, blocks))):
        for file, counts in zip(files, blocks, strict=True):
            if turn < len(counts):
                yield from islice(file, counts[turn][1])


def _shards(out: Path) -> list[Path]:
    """The files of all shards, by number."""
    form = re.compile(rf"{re.escape(out.stem)}\.(\d+)-of-(\d+){re.escape(out.suffix)}(\.part)?")
    folder = out.parent
    found = [m for path in (folder.iterdir() if folder.is_dir() else ()) if (m := form.fullmatch(path.name))]
    counts = {int(m[2]) for m in found}
    if len(counts) != 1:
        fault = "there are no shards of this file" if not counts else f"shards of {sorted(counts)} parts lie here"
        remedy = f"Write them with `expunge scan … --shard I/N --out {out}`, or remove those of another scan."
        raise InputError(fault, file=out, remedy=remedy)
    (count,) = counts
    done = {int(m[1]): folder / m[0] for m in found if not m[3]}
    missing = [n for n in range(1, count + 1) if n not in done]
    if missing:
        begun = {int(m[1]) for m in found if m[3]}
        names = ", ".join(f"{n}{' (unfinished)' if n in begun else ''}" for n in missing)
        remedy = "Give their command (again); what they have done is kept."
        raise InputError(f"of {count} shards these are missing: {names}", file=out, remedy=remedy)
    return [done[n] for n in range(1, count + 1)]


def _receipt(path: Path) -> dict[str, Any]:
    try:
        receipt: dict[str, Any] = json.loads(read_text(receipt_of(path)))
        same = receipt["sha256"] == file_digest(path)
    except (ValueError, KeyError, TypeError):
        same = False
    if not same:
        raise InputError(
            "this shard has changed since it was written", file=path, remedy="Remove it and scan it again."
        )
    return receipt
