"""Checkpoints of a run that may be killed at any moment, and the mark that keeps two runs out of one folder."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from expunge.differences import differences, in_one_line
from expunge.errors import OutputError
from expunge.files import read_text, reason, size, write_json
from expunge.training.processes import wait

CHECKPOINTS = "checkpoints"
COMPLETE = "complete"


def claim(folder: Path, identity: dict[str, Any]) -> None:
    """Mark the folder as this run's, or refuse one that belongs to another.

    The number of threads belongs to the run: another one sums in another order, and the weights would differ.
    """
    mark = folder / "run.json"
    if not mark.exists():
        write_json(mark, identity | {"threads": torch.get_num_threads()})
        return
    found = json.loads(read_text(mark))
    torch.set_num_threads(found.pop("threads"))
    if others := differences(found, identity):
        remedy = f"Put that back to go on, or remove {folder} to train anew. Or choose another --out."
        named = in_one_line([text.removeprefix("config.") for text in others.values()])
        message = f"this folder holds an unfinished run with other input or settings: {named}"
        raise OutputError(message, file=folder.parent, remedy=remedy)


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end; half-written ones are removed."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1]))
    for path in found:
        if not (path / COMPLETE).exists():
            shutil.rmtree(path)
    whole = [p for p in found if p.exists()]
    return whole[-1] if whole else None


@contextlib.contextmanager
def room(folder: Path, numbers: int) -> Iterator[None]:
    """While checkpoints of so many trained numbers, or a result, are written below `folder`.

    Raises:
        OutputError: they cannot be, for want of room mostly.
    """
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "PytorchStreamWriter" not in str(error):
            raise
        needed = size(12 * numbers)  # float32: the weights, and two of Adam's for each
        remedy = f"A checkpoint takes about {needed}, and two are kept. Make room: the same command goes on."
        raise OutputError(f"cannot write here ({reason(error, folder)})", file=folder, remedy=remedy) from None


def mark_complete() -> Any:
    """A callback of the trainer that marks each checkpoint once it is whole."""
    from transformers import TrainerCallback

    class MarkComplete(TrainerCallback):  # type: ignore[misc]
        """A checkpoint without this mark was cut short while it was written."""

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            wait()  # until the others' parts of it are there
            if state.is_world_process_zero:
                (Path(args.output_dir) / f"checkpoint-{state.global_step}" / COMPLETE).touch()

    return MarkComplete()
