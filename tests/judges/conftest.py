from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from expunge.dialogue import Dialogue
from expunge.message import Message

settings.register_profile("same every time", derandomize=True, deadline=None, database=None)
settings.load_profile("same every time")

DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def ask() -> Callable[..., Dialogue]:
    def make(question: str, answer: str, id: str = "") -> Dialogue:
        return Dialogue((Message("user", question), Message("assistant", answer)), id=id)

    return make


@pytest.fixture
def data() -> Path:
    if not DATA.is_dir():
        pytest.skip("the real data (../shared/data) is not here")
    return DATA
