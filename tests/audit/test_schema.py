"""audit.json keeps to the schema that is published with it."""

from __future__ import annotations

import copy
import json
import math
import typing
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from made_up_measures import FORGOTTEN, auc, audit_of, kept, measure, refused

from expunge.audit import result
from expunge.audit.result import SCHEMA, Claim, Estimate, Measure
from expunge.audit.thresholds import CLAIMS

RULES: dict[str, Any] = json.loads(SCHEMA.read_text(encoding="utf-8"))


@pytest.fixture
def written(tmp_path: Path) -> Any:
    odd = replace(FORGOTTEN, key="flagged_unseen", after=Estimate(math.nan, -math.inf, math.inf, 3))
    attack = measure("prompts", 80, 400, group="robustness", oracle=FORGOTTEN.after)
    kinds = (auc(0.5, 0.01, None), kept("neighbours", 380, 361), refused("refused_ordinary", 0, 3))
    found = audit_of(FORGOTTEN, odd, attack, *kinds, loss=math.nan)
    found.write(tmp_path)
    return json.loads((tmp_path / "audit.json").read_text())


def test_the_schema_is_one_and_audits_keep_to_it(written: Any) -> None:
    jsonschema.Draft202012Validator.check_schema(RULES)
    jsonschema.validate(written, RULES)


def test_the_least_audit_keeps_to_it(tmp_path: Path) -> None:
    audit_of().write(tmp_path)
    jsonschema.validate(json.loads((tmp_path / "audit.json").read_text()), RULES)


BROKEN: list[Callable[[Any], Any]] = [
    lambda a: a.pop("claims"),
    lambda a: a.update(version=2),
    lambda a: a.update(outcome="MAYBE"),
    lambda a: a["claims"].clear(),
    lambda a: a["claims"][0].pop("why"),
    lambda a: a["claims"][0].update(name="leek"),
    lambda a: a["measures"][0].update(after=0.5),
    lambda a: a["measures"][0]["after"].pop("high"),
    lambda a: a["measures"][0]["after"].update(value="0.5"),
]


@pytest.mark.parametrize("breaking", BROKEN)
def test_what_is_no_audit_does_not(written: Any, breaking: Callable[[Any], Any]) -> None:
    broken = copy.deepcopy(written)
    breaking(broken)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, RULES)


def test_it_names_what_the_code_writes() -> None:
    for name, kind in (("estimate", Estimate), ("claim", Claim), ("measure", Measure)):
        part = RULES["$defs"][name]
        assert list(part["properties"]) == part["required"] == [f.name for f in fields(kind)]
    claim, found = (RULES["$defs"][name]["properties"] for name in ("claim", "measure"))
    assert claim["name"]["enum"] == list(CLAIMS)
    assert claim["outcome"]["enum"] == list(typing.get_args(result.Outcome))
    assert found["group"]["enum"] == list(typing.get_args(result.Group))
    assert found["better"]["enum"] == list(typing.get_args(result.Better))
    assert found["unit"]["enum"] == list(typing.get_args(typing.get_type_hints(Measure)["unit"]))
    assert RULES["properties"]["version"]["const"] == result.VERSION
