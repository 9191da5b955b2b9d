"""Several processes that share a training (`accelerate launch -m expunge unlearn …`); mostly there is one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch


def launched() -> int:
    """How many the launcher starts."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def join(*, cpu: bool) -> None:
    """Wait until all are there, where the launcher wants several."""
    if launched() > 1:
        from accelerate import PartialState

        PartialState(cpu=cpu)


def processes() -> int:
    """How many there are."""
    return torch.distributed.get_world_size() if _several() else 1


def is_main() -> bool:
    """Whether this is the one that writes."""
    return not _several() or torch.distributed.get_rank() == 0


def total(value: torch.Tensor) -> torch.Tensor:
    """The sum of a value over all processes, on each of them."""
    if _several():
        value = value.clone()
        torch.distributed.all_reduce(value)
    return value


@contextlib.contextmanager
def main_first() -> Iterator[None]:
    """The first process goes through, and then the others, which find what it has written."""
    if not is_main():
        wait()
    yield
    if is_main():
        wait()


def wait() -> None:
    """Until all have come so far."""
    if _several():
        torch.distributed.barrier()


def _several() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
