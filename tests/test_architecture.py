"""The house: arrows run downhill only, files stay small, and what is public is explained."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "expunge"
MODULES = sorted(SOURCE.rglob("*.py"))

ORDER = [
    {"differences", "errors", "host", "progress", "thought"},
    {"files"},
    {"checkpoint", "content", "growing", "hub", "text_part", "tokens"},
    {"message", "sources"},
    {"chat_template"},
    {"dialogue", "demo", "kv_cache", "packing", "span"},
    {"encoding", "endpoint", "four_bits", "prefill", "rounding", "sharding"},
    {"decoding"},
    {"batches"},
    {"adapters"},
    {"model", "output_layer"},
    {"generation", "identity"},
    {"judges"},
    {"review"},
    {"scan", "selection", "expected", "objective"},
    {"own_thoughts"},
    {"training"},
    {"audit"},
    {"report"},
    {"recipe", "diff", "steps"},
    {"manifest", "planning"},
    {"questions"},
    {"benchmarks"},
    {"pipeline"},
    {"comparison"},
    {"cli"},
    {"__main__"},
]
"""The parts of the house in the order in which the data passes: each may use those above it, and itself."""
LEVEL = {name: level for level, names in enumerate(ORDER) for name in names}


def part(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Full names of the modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def used(path: Path) -> set[str]:
    """Parts of Expunge that a file uses."""
    names = (name.split(".") for name in imports(path))
    return {name[1] for name in names if name[0] == "expunge" and len(name) > 1} & set(LEVEL)


def test_every_part_has_its_place() -> None:
    assert {part(path) for path in MODULES} - {"__init__"} == set(LEVEL)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_arrows_run_downhill(path: Path) -> None:
    own = part(path)
    if own == "__init__":
        return
    uphill = {name for name in used(path) if LEVEL[name] >= LEVEL[own] and name != own}
    assert not uphill, f"{own} uses {uphill}, which stands below it"


def test_the_objective_knows_torch_and_nothing_of_expunge() -> None:
    for path in SOURCE.glob("objective/*.py"):
        assert used(path) <= {"objective"}, path


def test_the_report_knows_no_torch_and_only_results() -> None:
    for path in SOURCE.glob("report/*.py"):
        assert not any(name.split(".")[0] in ("torch", "transformers") for name in imports(path)), path
        assert used(path) <= {"audit", "files", "errors", "report"}, path
        assert all(n.startswith("expunge.audit.result.") for n in imports(path) if n.startswith("expunge.audit")), path


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_files_are_small_and_explained(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "a module says what it is for"
    assert len(text.splitlines()) <= 300
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    long = {node.name for node in functions if (node.end_lineno or 0) - node.lineno > 70}
    assert not long, f"longer than a screen: {long}"


EXPLAINED = [path for path in MODULES if part(path) not in ("demo", "judges", "audit", "report")]


@pytest.mark.parametrize("path", EXPLAINED, ids=lambda p: str(p.relative_to(SOURCE)))
def test_what_is_public_is_explained(path: Path) -> None:
    made = (
        n for n in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(n, ast.FunctionDef | ast.ClassDef)
    )
    assert not [n.name for n in made if not n.name.startswith("_") and not ast.get_docstring(n)]


def test_the_types_are_shipped() -> None:
    assert (SOURCE / "py.typed").is_file()
