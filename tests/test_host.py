"""The machine as one process uses it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from expunge.host import suit_host
suit_host()
def work():
    held = [torch.ones(7_000_000) for _ in range(12)]
    return float(held[0][0])
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

PAGES = 12 * 7_000_000 * 4 // 4096
"""Of one round's tensors."""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_memory_is_not_cleared_anew_for_each_batch() -> None:
    own = {"OMP_NUM_THREADS": "1", "THP_MEM_ALLOC_ENABLE": "0"}
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")} | own
    done = subprocess.run([sys.executable, "-c", FAULTS], env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1.25 * PAGES, "of 20 rounds"  # otherwise two to seventeen rounds' worth
