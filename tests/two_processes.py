"""Two processes that work together (gloo, on the CPU), as `torch.distributed.run` starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

LAUNCHER = ("torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0", "--rdzv-backend", "c10d")


def in_two(
    *words: str | Path, timeout: float, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """What they said, once both have ended; when time is up, they are ended too, and not their launcher alone."""
    command = [sys.executable, "-m", *LAUNCHER, "--rdzv-endpoint", "localhost:0", *map(str, words)]
    changed = {**os.environ, "ACCELERATE_USE_CPU": "true", **environment}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=cwd, env=changed) as launcher:
        try:
            out, error = launcher.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            launcher.terminate()  # it ends those that it has started; killed, it could not
            launcher.communicate()
            raise
    return subprocess.CompletedProcess(command, launcher.returncode, out, error)
