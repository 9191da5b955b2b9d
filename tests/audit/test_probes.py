"""Running probes: how far they are, told as they go."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from slow import SETS, dialogue

from expunge.audit.audit import audit
from expunge.audit.names import PROBES
from expunge.audit.probes import Case, check_sets, probe_work, run_probes, with_thinking
from expunge.errors import InputError
from expunge.model import load_model

THINKS = (
    "{% for m in messages %}{% if m.role == 'assistant' %}<think></think>{% endif %}{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<think>{% endif %}"
)


@pytest.mark.parametrize("name", PROBES)
@pytest.mark.parametrize("with_oracle", [True, False])
def test_a_probe_advances_by_what_was_announced(tiny: Path, name: str, with_oracle: bool) -> None:
    lm = load_model(tiny, template=THINKS if name == "thinking" else None)
    sets = replace(SETS, ability=(dialogue("1 + 1?", "2"),))
    told: list[int] = []
    run_probes([name], Case(lm, lm, lm if with_oracle else None, sets, (), advance=told.append))
    assert sum(told) == probe_work([name], sets, 3 if with_oracle else 2) > 0
    assert min(told) >= 0
    if name in ("prompts", "quantization", "relearning"):
        assert len([count for count in told if count]) > 2, "the long ones tell more than their end"


def test_what_relearning_lacks_is_told_before_any_work() -> None:
    alone = tuple(replace(j, dialogue=replace(j.dialogue, subject="Ann")) for j in SETS.trained)
    check_sets(["relearning"], SETS)
    with pytest.raises(InputError, match="two subjects") as error:
        check_sets(["depth", "relearning"], replace(SETS, trained=alone))
    assert error.value.remedy and "Ann" not in str(error.value)
    check_sets(["depth"], replace(SETS, trained=alone))


def test_a_model_that_does_not_think_is_refused_before_any_work(tiny: Path) -> None:
    lm, thinking = load_model(tiny), load_model(tiny, template=THINKS)
    with pytest.raises(InputError, match="does not think first"):
        audit(lm, lm, SETS, (), probes=["thinking"], advance=lambda _: pytest.fail("work has begun"))
    assert with_thinking(["depth", "thinking"], thinking) == ("depth", "thinking") == with_thinking(["depth"], thinking)
    assert with_thinking(["depth"], lm) == ("depth",)


def test_a_probe_named_twice_is_run_once(tiny: Path) -> None:
    lm = load_model(tiny)
    told: list[int] = []
    case = Case(lm, lm, None, SETS, (), advance=told.append)
    once, twice = (run_probes(names, case) for names in (["depth", "likelihood"], ["depth", "likelihood", "depth"]))
    assert [m.key for m in once] == [m.key for m in twice]
    work = probe_work(["depth", "likelihood"], SETS, 2)
    assert sum(told) == 2 * work and probe_work(["depth", "likelihood", "depth"], SETS, 2) == work
