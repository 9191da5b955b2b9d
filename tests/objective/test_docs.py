"""docs/methods.md lists what there is."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from expunge.objective.methods import METHODS
from expunge.objective.terms import TERMS
from expunge.training.config import UnlearnConfig

PAGE = (Path(__file__).parents[2] / "docs" / "methods.md").read_text(encoding="utf-8")

SETTINGS = {field.name for field in dataclasses.fields(UnlearnConfig)}


def test_every_method_and_term_is_in_the_docs() -> None:
    for method in METHODS.values():
        row = f"| `{method.name}` | {method.meaning} | {' + '.join(method.terms)} | {method.source} |"
        assert row in PAGE, f"docs/methods.md lacks: {row}"
    for name, term in TERMS.items():
        (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| {term.slot} | `")]
        options = ", ".join(f"{key} {value:g}" for key, value in term.options.items() if key not in SETTINGS)
        assert re.search(rf"`{name}`{re.escape(f' ({options}') if options else ''}[,;) |]", row), f"{name}: {options}"
