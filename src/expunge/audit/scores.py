"""What models make of rows, kept for an audit, and in a folder for the next: each reads a distinct row once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import torch

from expunge.encoding import Encoded
from expunge.errors import InputError
from expunge.files import digest, exists, make_folder, writing
from expunge.generation import TokenScores, token_scores
from expunge.growing import add_lines, whole_lines
from expunge.model import LanguageModel

VERSION = "1"
"""Of what is kept; it rises when the same model and row would give something else."""

Found = TypeVar("Found")


class Scores:
    """What is known of rows under models; it is not computed again. A model must not change meanwhile."""

    def __init__(self, cache: Path | None = None) -> None:
        """cache: a folder that keeps it, by a hash of the model's weights and one of the row's tokens; no text.

        Raises:
            OutputError: there can be no such folder.
        """
        self._folder = make_folder(cache, option="--cache") if cache else None
        self._known: dict[tuple[Any, str], dict[str, Any]] = {}
        self._hashes: dict[Any, str] = {}

    def of(self, lm: LanguageModel, rows: Sequence[Encoded]) -> list[TokenScores]:
        """The scores of each row's response under `lm`, in order."""

        def find(new: Sequence[int]) -> list[TokenScores]:
            return token_scores(lm, [rows[i] for i in new])

        return self._of(lm, "likelihoods", rows, find, _lists, _scores)

    def numbers(
        self, lm: LanguageModel, name: str, rows: Sequence[Encoded], find: Callable[[Sequence[int]], Sequence[float]]
    ) -> list[float]:
        """One number for each row; `find` tells it of the rows at these places, the distinct ones not known yet.

        name: says what it is, with all that it depends on but model and row.
        """
        return self._of(lm, name, rows, find, lambda value: {"value": value}, lambda row: float(row["value"]))

    def _of(
        self,
        lm: LanguageModel,
        name: str,
        rows: Sequence[Encoded],
        find: Callable[[Sequence[int]], Sequence[Found]],
        write: Callable[[Found], Mapping[str, Any]],
        read: Callable[[Mapping[str, Any]], Found],
    ) -> list[Found]:
        path = self._path(lm.model, name)
        if (lm.model, name) not in self._known:
            self._known[lm.model, name] = _kept(path, read)
        known: dict[str, Found] = self._known[lm.model, name]
        keys = [digest(repr(row.prompt), repr(row.response)) for row in rows]
        new: dict[str, int] = {}
        for i, key in enumerate(keys):
            if key not in known:
                new.setdefault(key, i)
        known.update(zip(new, find(list(new.values())) if new else (), strict=True))
        if path and new:
            lines = (json.dumps({"row": key} | dict(write(known[key]))) + "\n" for key in new)
            with writing(path, "Make room, or choose another --cache."):
                add_lines(path, "".join(lines))
        return [known[key] for key in keys]

    def _path(self, model: Any, name: str) -> Path | None:
        """An adapter's weights do not say by how much it counts: what is found of it is not kept."""
        if self._folder is None or hasattr(model, "peft_config"):
            return None
        if model not in self._hashes:
            self._hashes[model] = fingerprint(model)
        return self._folder / f"{name}-{self._hashes[model]}.jsonl"


def _kept(path: Path | None, read: Callable[[Mapping[str, Any]], Found]) -> dict[str, Found]:
    """By row, what a file holds to which other processes may add at any moment.

    Raises:
        InputError: it cannot be read, or holds something else.
    """
    if path is None or not exists(path):
        return {}
    try:
        found = (json.loads(line) for line in whole_lines(path)[0])
        return {row["row"]: read(row) for row in found}
    except OSError as error:
        fault = f"cannot be read ({error.strerror})"
    except (ValueError, KeyError, TypeError, RecursionError):
        fault = "this file is damaged"
    raise InputError(fault, file=path, remedy="Remove it, or choose another --cache.")


def fingerprint(model: Any) -> str:
    """SHA-256 of the weights as they are loaded, of the configuration, of the kind of device, and of `VERSION`."""
    config = {k: v for k, v in model.config.to_dict().items() if k not in ("_name_or_path", "transformers_version")}
    found = hashlib.sha256(repr((VERSION, model.device.type, sorted(config.items(), key=repr))).encode())
    for name, weight in sorted(model.state_dict().items()):
        found.update(repr((name, weight.dtype, tuple(weight.shape))).encode())
        found.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def _lists(scores: TokenScores) -> dict[str, list[float]]:
    return {f.name: getattr(scores, f.name).tolist() for f in fields(TokenScores)}


def _scores(row: Mapping[str, Any]) -> TokenScores:
    right = torch.tensor(row["greedy"], dtype=torch.bool)
    log_p, mean, deviation = (torch.tensor(row[k], dtype=torch.float64) for k in ("log_p", "mean", "deviation"))
    return TokenScores(log_p, right, mean, deviation)
