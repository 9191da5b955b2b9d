"""What a run was: its recipe, seeds, hashes and versions. Also what keeps two runs out of one folder."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expunge import __version__
from expunge.errors import InputError, OutputError
from expunge.files import exists, file_digest, folder_digest, lock, make_folder, read_text, write_json
from expunge.recipe import Recipe

NAME = "manifest.json"
SPLIT = "split"
"""Folder of the forget set and the normal set, as a run took them."""

PACKAGES = ("torch", "transformers", "accelerate", "peft", "bitsandbytes", "numpy", "scikit-learn")


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
        if exists(path):
            manifest._same(recipe)
            return manifest
        if any(make_folder(folder).iterdir()):
            raise _no_run(folder)
        write_json(path, {"status": "running", **_identity(recipe), "versions": versions(), "steps": {}})
        return manifest

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Gives the folder up again where input turns out to be wrong before anything was done."""
        try:
            yield
        except InputError:
            if exists(self.folder) and {path.name for path in self.folder.iterdir()} <= {NAME, SPLIT}:
                shutil.rmtree(self.folder, ignore_errors=True)  # another process may do so too
            raise

    def add(self, step: str, found: dict[str, Any]) -> None:
        """Note what a step did."""
        content = self.read()
        content["steps"][step] = found
        write_json(self.folder / NAME, content)

    def finish(self) -> dict[str, Any]:
        """Mark the run as complete."""
        content = self.read() | {"status": "complete"}
        write_json(self.folder / NAME, content)
        return content

    def read(self) -> dict[str, Any]:
        """The manifest as it is."""
        content: dict[str, Any] = json.loads(read_text(self.folder / NAME))
        return content

    def recipe(self) -> Recipe:
        """The recipe of the run."""
        try:
            return Recipe.of(self.read()["recipe"])
        except (ValueError, KeyError, TypeError):
            message = "this run was written by another version of Expunge"
            raise InputError(message, file=self.folder / NAME, remedy="Give --forget and what else to ask.") from None

    def _same(self, recipe: Recipe) -> None:
        try:
            content = self.read()
            known = {"status", "recipe", "inputs", "steps"} <= content.keys()
        except (ValueError, AttributeError, InputError):
            known = False
        if not known:
            raise _no_run(self.folder)
        wanted = _identity(recipe)
        changed = [k for k in ("recipe", "inputs") if content.get(k) != json.loads(json.dumps(wanted[k]))]
        if changed:
            remedy = "Choose another --out, or remove that folder to start anew."
            what = "recipe" if changed == ["recipe"] else "input"
            raise OutputError(f"this folder holds a run with another {what}", file=self.folder, remedy=remedy)
        if content["status"] == "complete":
            results = [self.folder / name for name in ("report.html", "model", "adapter")]
            result = next((path for path in results if exists(path)), self.folder)
            remedy = f"Its result: {result}. Choose another --out for a new run."
            raise OutputError("this run is complete; nothing was done", file=self.folder, remedy=remedy)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keeps other processes from working in the folder of a run, until this block ends or this process does.

    Raises:
        OutputError: another is at work there, or there can be no such folder.
    """
    make_folder(folder)
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # a system that opens no folders
        yield
        return
    try:
        if not lock(handle):
            remedy = "Wait for it, or choose another --out."
            raise OutputError("another process is at work in this folder", file=folder, remedy=remedy)
        yield
    finally:
        os.close(handle)


def _no_run(folder: Path) -> OutputError:
    remedy = "Choose another --out, or an empty folder."
    return OutputError("this folder is not empty, and holds no run", file=folder, remedy=remedy)


def _identity(recipe: Recipe) -> dict[str, Any]:
    return {
        "recipe": dataclasses.asdict(recipe),
        "inputs": {path: file_digest(Path(path)) for path in recipe.files()},
    }


def weights(models: Mapping[str, str | None]) -> dict[str, str]:
    """SHA-256 over the weight files of each of these that is a folder; a name on the hub says by itself what it is."""
    folders = {name: Path(path) for name, path in models.items() if path and Path(path).is_dir()}
    return {name: folder_digest(folder, "*.safetensors") for name, folder in folders.items()}


def versions() -> dict[str, str]:
    """Versions of Expunge, Python, and what it stands on."""
    found = {"expunge": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
