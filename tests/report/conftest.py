from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from madeup import FACTS, measures, sample

from expunge.audit.decision import decide
from expunge.audit.result import Audit


@pytest.fixture(scope="session")
def fake() -> Callable[..., Audit]:
    """Make an audit with so many made-up samples, or with other fields."""

    def make(count: int = 40, /, **fields: Any) -> Audit:
        given: dict[str, Any] = {
            "model": "runs/town/model",
            "reference": "town-chat-1b",
            "oracle": "town-chat-1b-oracle",
            "measures": measures(),
            "samples": tuple(sample(i) for i in range(count)),
            "facts": FACTS,
        } | fields
        return Audit(**({"claims": decide(given["measures"])} | given))

    return make


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "run" / "report.html"
