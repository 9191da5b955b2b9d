"""Numbers that are computed once and kept in a file, which is mapped: the system reads what is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from expunge.files import PRIVATE, make_folder, size, writing


def kept(path: Path, count: int, make: Callable[[], Iterable[torch.Tensor]]) -> torch.Tensor:
    """The file's `count` numbers, float32 [count]; where it is not whole yet, `make` gives them piece by piece.

    It appears whole or not at all. Nothing is to be written to what is returned.

    Raises:
        OutputError: the file cannot be written, for want of room mostly.
    """
    if not count:
        return torch.empty(0)
    make_folder(path.parent)
    if not (path.exists() and path.stat().st_size == 4 * count):
        part = path.with_name(f".{path.name}.part")
        needed = f"What the original makes of the rows takes {size(4 * count)}"
        with writing(path, f"{needed}: make room, or choose another --out."):
            try:
                part.touch(PRIVATE)
                with part.open("wb") as file:
                    for piece in make():
                        file.write(piece.detach().cpu().float().contiguous().numpy().data)
                if part.stat().st_size != 4 * count:
                    raise AssertionError(f"{part.stat().st_size} bytes were made, and not {4 * count}")
                part.replace(path)
            except OSError:
                part.unlink(missing_ok=True)
                raise
    return torch.from_file(str(path), shared=False, size=count)
