"""The command as a shell has it, in this process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from expunge import cli


def code_of(*words: str | Path) -> int:
    """The exit code of `expunge` with these words."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as caught:
        patch.setattr(sys, "argv", ["expunge", *map(str, words)])
        cli.main()
        sys.exit(0)
    return int(caught.value.code or 0)


def told(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    """The exit code, and what stands on stdout and on stderr."""
    code = code_of(*words)
    said = capsys.readouterr()
    return code, said.out, said.err
