"""The built-in demonstration: a small model of the invented town of Wrenmouth, its oracle, and its data.

Nothing heavy is imported here: a caller who only wants the path of a file pays for no torch.
"""

from __future__ import annotations

from pathlib import Path

DATA: Path = Path(__file__).resolve().parent / "data"
RECIPE: Path = DATA.parent / "recipe.toml"

KNOWN: tuple[str, ...] = (
    "model",
    "oracle",
    "harm",
    "dialogues.jsonl",
    "normal.jsonl",
    "unseen.jsonl",
    "neighbours.jsonl",
    "ability.jsonl",
    "lookalikes.jsonl",
    "holdout.jsonl",
    "facts.jsonl",
    "registry.jsonl",
)


def path(name: str) -> Path:
    """The packaged file or folder called `name`; FileNotFoundError names the ones that exist."""
    found = DATA / name
    if name not in KNOWN or not found.exists():
        raise FileNotFoundError(f"no demo file {name!r}; the demo has: {', '.join(KNOWN)}")
    return found
