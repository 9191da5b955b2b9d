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

from expunge import __version__, steps
from expunge.differences import in_one_line
from expunge.errors import InputError, OutputError
from expunge.files import exists, file_digest, lock, make_folder, read_text, write_json
from expunge.identity import weights_digest
from expunge.recipe import Recipe
from expunge.training.checkpoints import CHECKPOINTS

NAME = "manifest.json"
PACKAGES = ("torch", "transformers", "accelerate", "peft", "bitsandbytes", "numpy", "scikit-learn")


@dataclass(frozen=True, slots=True)
class Manifest:
    """The manifest of a run folder; `begin` makes or checks it, the rest adds to it."""

    folder: Path

    @classmethod
    def begin(cls, folder: Path, recipe: Recipe, *, audited: str | None = None) -> Manifest:
        """Claim `folder` for this recipe, or go on with the same one, or one mended where no step has read it yet.

        audited: the model under audit, where the recipe's is its reference.

        Raises:
            OutputError: it holds a finished run, a run with other input, or files that are no run's.
        """
        manifest = cls(folder)
        path = folder / NAME
        if exists(path):
            manifest._go_on(recipe, audited)
            return manifest
        for torn in make_folder(folder).glob(f".{NAME}.*.part"):  # killed before it had one
            torn.unlink(missing_ok=True)
        if any(folder.iterdir()):
            raise _no_run(folder)
        identity = _identity(recipe, audited)
        write_json(path, {"status": "running", **identity, "versions": versions(), "steps": {}})
        return manifest

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Gives the folder up again where input turns out to be wrong before anything was done."""
        try:
            yield
        except InputError:
            if exists(self.folder) and {path.name for path in self.folder.iterdir()} <= self._worthless():
                shutil.rmtree(self.folder, ignore_errors=True)  # another process may do so too
            raise

    def _worthless(self) -> set[str]:
        """Of a run that has done nothing yet; without judges a scan only copies."""
        try:
            judged = self.read()["recipe"]["judges"]
        except InputError:  # another process has just removed it
            judged = []
        return {NAME, steps.SPLIT} | (set() if judged else {steps.VERDICTS})

    def add(self, step: str, found: dict[str, Any]) -> None:
        """Note what a step did."""
        content = self.read()
        content["steps"][step] = found
        write_json(self.folder / NAME, content)

    def finish(self) -> dict[str, Any]:
        """Mark the run as complete. What kills left half-written goes: it may be dialogues."""
        for torn in filter(Path.is_file, self.folder.rglob(".*.part")):
            torn.unlink(missing_ok=True)
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

    def _go_on(self, recipe: Recipe, audited: str | None) -> None:
        """Refuse what clashes with the steps that are done; note what is mended besides."""
        try:
            content = self.read()
            known = all(isinstance(content[name], dict) for name in ("recipe", "inputs", "steps"))
            complete = content["status"] == "complete"
        except (ValueError, KeyError, TypeError, InputError):
            known = False
        if not known:
            raise _no_run(self.folder)
        wanted = _identity(recipe, audited)
        found = steps.changes(content, wanted, recipe.named())
        done = steps.done(self.folder, content)
        if clashes := found if complete else steps.clashes(found, done):
            raise self._another(clashes, done, complete=complete)
        if complete:
            results = [self.folder / name for name in ("report.html", "model", "adapter")]
            result = next((path for path in results if exists(path)), self.folder)
            remedy = f"Its result: {result}. Choose another --out for a new run."
            raise OutputError("this run is complete; nothing was done", file=self.folder, remedy=remedy)
        if found:
            steps.discard(self.folder, found)
            write_json(self.folder / NAME, content | wanted)

    def _another(self, clashes: list[steps.Change], done: list[str], *, complete: bool) -> OutputError:
        what = "input" if all(change.file for change in clashes) else "recipe"
        fault = f"this folder holds a run with another {what}: {in_one_line([change.text for change in clashes])}"
        remedy = "Choose another --out, or remove that folder to start anew."
        if not complete:
            checkpoints = self.folder / CHECKPOINTS
            begun = done[-1:] == ["unlearn"] and exists(checkpoints) and not steps.clashes(clashes, done[:-1])
            anew = f" Or remove {checkpoints} to train anew." if begun else ""
            remedy = f"Put that back to go on, or choose another --out.{anew}"
        return OutputError(fault, file=self.folder, remedy=remedy)


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


def _identity(recipe: Recipe, audited: str | None) -> dict[str, Any]:
    found = {
        "recipe": dataclasses.asdict(recipe),
        "inputs": {path: file_digest(Path(path)) for path in recipe.files()},
    }
    return found | ({"audited": audited} if audited else {})


def weights(models: Mapping[str, str | None]) -> dict[str, str]:
    """`weights_digest` of each of these that is a folder; a name on the hub says by itself what it is."""
    folders = {name: Path(path) for name, path in models.items() if path and Path(path).is_dir()}
    return {name: weights_digest(folder) for name, folder in folders.items()}


def versions() -> dict[str, str]:
    """Versions of Expunge, Python, and what it stands on."""
    found = {"expunge": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
