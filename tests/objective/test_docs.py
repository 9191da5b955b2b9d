"""docs/methods.md lists what there is."""

from __future__ import annotations

from pathlib import Path

from expunge.objective.methods import METHODS
from expunge.objective.terms import TERMS

PAGE = (Path(__file__).parents[2] / "docs" / "methods.md").read_text(encoding="utf-8")


def test_every_method_and_term_is_in_the_docs() -> None:
    for method in METHODS.values():
        row = f"| `{method.name}` | {method.meaning} | {' + '.join(method.terms)} | {method.source} |"
        assert row in PAGE, f"docs/methods.md lacks: {row}"
    for name, term in TERMS.items():
        options = ", ".join(f"{key} {value:g}" for key, value in term.options.items())
        assert f"| `{name}` | {term.slot} | {options} |" in PAGE, (
            f"docs/methods.md lacks: | `{name}` | {term.slot} | {options} |"
        )
