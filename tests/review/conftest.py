"""Verdict files for the review's tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_verdicts import MakeFile, made_up

from expunge.judges.verdict import write_verdicts


@pytest.fixture
def make_file(tmp_path: Path) -> MakeFile:
    """Writes so many verdicts, and gives the file."""

    def make(count: int) -> Path:
        path = tmp_path / "verdicts.jsonl"
        write_verdicts(path, (made_up(n) for n in range(count)))
        return path

    return make
