"""What a run was: its recipe, seeds, hashes and versions. Also what keeps two runs out of one folder."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expunge import __version__
from expunge.errors import OutputError
from expunge.files import file_digest, make_folder, read_text, write_json
from expunge.recipe import Recipe

NAME = "manifest.json"
PACKAGES = ("torch", "transformers", "accelerate", "peft", "numpy", "scikit-learn")


@dataclass(frozen=True, slots=True)
class Manifest:
    """The manifest of a run folder; `begin` makes or checks it, the rest adds to it."""

    folder: Path

    @classmethod
    def begin(cls, folder: Path, recipe: Recipe) -> Manifest:
        """Claim `folder` for this recipe, or go on with the same one.

        Raises:
            OutputError: it holds a finished run, a run with other input, or files that are no run's.
        """
        manifest = cls(folder)
        path = folder / NAME
        if path.exists():
            manifest._same(recipe)
            return manifest
        if folder.exists() and any(folder.iterdir()):
            remedy = "Choose another --out, or an empty folder."
            raise OutputError("this folder is not empty, and holds no run", file=folder, remedy=remedy)
        make_folder(folder)
        write_json(path, {"status": "running", **_identity(recipe), "versions": versions(), "steps": {}})
        return manifest

    def add(self, step: str, found: dict[str, Any]) -> None:
        """Note what a step did."""
        content = self.read()
        content["steps"][step] = found
        write_json(self.folder / NAME, content)

    def finish(self) -> dict[str, Any]:
        content = self.read() | {"status": "complete"}
        write_json(self.folder / NAME, content)
        return content

    def read(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(read_text(self.folder / NAME))
        return content

    def recipe(self) -> Recipe:
        """The recipe of the run."""
        return Recipe.of(self.read()["recipe"])

    def _same(self, recipe: Recipe) -> None:
        content = self.read()
        wanted = _identity(recipe)
        changed = [k for k in ("recipe", "inputs") if content.get(k) != json.loads(json.dumps(wanted[k]))]
        if changed:
            remedy = "Choose another --out, or remove that folder to start anew."
            what = "recipe" if changed == ["recipe"] else "input"
            raise OutputError(f"this folder holds a run with another {what}", file=self.folder, remedy=remedy)
        if content["status"] == "complete":
            remedy = f"Its report: {self.folder / 'report.html'}. Choose another --out for a new run."
            raise OutputError("this run is complete; nothing was done", file=self.folder, remedy=remedy)


def _identity(recipe: Recipe) -> dict[str, Any]:
    return {
        "recipe": dataclasses.asdict(recipe),
        "inputs": {path: file_digest(Path(path)) for path in recipe.files()},
    }


def versions() -> dict[str, str]:
    """Versions of Expunge, Python, and what it stands on."""
    found = {"expunge": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
