"""Running probes: how far they are, told as they go."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from slow import SETS, dialogue

from expunge.audit.names import PROBES
from expunge.audit.probes import Case, probe_work, run_probes
from expunge.model import load_model


@pytest.mark.parametrize("name", PROBES)
@pytest.mark.parametrize("with_oracle", [True, False])
def test_a_probe_advances_by_what_was_announced(tiny: Path, name: str, with_oracle: bool) -> None:
    lm = load_model(tiny)
    sets = replace(SETS, ability=(dialogue("1 + 1?", "2"),))
    told: list[int] = []
    run_probes([name], Case(lm, lm, lm if with_oracle else None, sets, (), advance=told.append))
    assert sum(told) == probe_work([name], sets, 3 if with_oracle else 2) > 0
    assert min(told) >= 0
    if name in ("prompts", "quantization", "relearning"):
        assert len([count for count in told if count]) > 2, "the long ones tell more than their end"
