"""The processor and the memory of this machine, as one process is to use them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import time
from pathlib import Path

import torch

CPU_TOKENS = 4096
"""Tokens that a CPU reads at a time: the activations of more do not stay in its caches, and take half as long again."""

TRIM, MAPPED = (-1, 2**30), (-3, 2**25)
"""Of glibc's mallopt: M_TRIM_THRESHOLD and M_MMAP_THRESHOLD (the most it takes), in bytes."""


def suit_host() -> int:
    """Use as many threads as there are idle cores, and keep freed memory for the next batch.

    On a busy machine, spinning threads are far slower than few; where the user set OMP_NUM_THREADS, that holds.
    Returns the number of threads in use.
    """
    _keep_memory()
    if "OMP_NUM_THREADS" not in os.environ:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        torch.set_num_threads(max(1, min(torch.get_num_threads(), round(cores * _idle_share()))))
    return torch.get_num_threads()


def _keep_memory() -> None:
    """Have glibc keep up to a gigabyte of what is freed: handed back and asked for anew, every page is cleared again,
    batch after batch. Where the user set one of its variables, or the allocator is another, nothing is changed.

    Torch is told to ask for huge pages: a tenth of an audit's time. It reads that when it first allocates.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return
    with contextlib.suppress(OSError, AttributeError):  # another C library has no such function
        change = ctypes.CDLL(None).mallopt
        for option, value in (TRIM, MAPPED):
            change(ctypes.c_int(option), ctypes.c_int(value))


def _idle_share(seconds: float = 0.3) -> float:
    """Share of the machine's processor time that nobody uses, watched for a moment; 1 where the system does not say."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 1.0

    def times() -> tuple[int, int]:
        fields = [int(field) for field in stat.read_text().split("\n", 1)[0].split()[1:9]]
        return fields[3] + fields[4], sum(fields)

    idle, total = times()
    time.sleep(seconds)
    idle_after, total_after = times()
    return (idle_after - idle) / max(1, total_after - total)
