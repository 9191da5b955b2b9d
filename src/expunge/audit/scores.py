"""Token scores, kept for an audit, and in a folder for the next: each distinct row goes through each model once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from expunge.encoding import Encoded
from expunge.files import digest, make_folder, read_jsonl, write_jsonl
from expunge.generation import TokenScores, token_scores
from expunge.model import LanguageModel

VERSION = "1"
"""Of what scores are made of; it rises when the same model and row would give others."""


class Scores:
    """The scores of rows under models; what is asked again is not computed again. A model must not change meanwhile."""

    def __init__(self, cache: Path | None = None) -> None:
        """cache: a folder that keeps them, by a hash of the model's weights and one of the row's tokens; no text.

        Raises:
            OutputError: there can be no such folder.
        """
        self._folder = make_folder(cache) if cache else None
        self._known: dict[Any, dict[str, TokenScores]] = {}
        self._paths: dict[Any, Path | None] = {}

    def of(self, lm: LanguageModel, rows: Sequence[Encoded]) -> list[TokenScores]:
        """The scores of each row's response under `lm`, in order."""
        if lm.model not in self._known:
            path = self._paths[lm.model] = self._path(lm.model)
            self._known[lm.model] = _read(path) if path and path.exists() else {}
        known, path = self._known[lm.model], self._paths[lm.model]
        names = [digest(repr(row.prompt), repr(row.response)) for row in rows]
        new = {name: row for name, row in zip(names, rows, strict=True) if name not in known}
        known.update(zip(new, token_scores(lm, list(new.values())), strict=True))
        if path and new:
            write_jsonl(path, ({"row": name} | _lists(found) for name, found in known.items()))
        return [known[name] for name in names]

    def _path(self, model: Any) -> Path | None:
        """An adapter's weights do not say by how much it counts: its scores are not kept."""
        if self._folder is None or hasattr(model, "peft_config"):
            return None
        return self._folder / f"likelihoods-{fingerprint(model)}.jsonl"


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


def _read(path: Path) -> dict[str, TokenScores]:
    return {row["row"]: _scores(row) for _, row in read_jsonl(path)}


def _scores(row: Mapping[str, Any]) -> TokenScores:
    right = torch.tensor(row["greedy"], dtype=torch.bool)
    log_p, mean, deviation = (torch.tensor(row[k], dtype=torch.float64) for k in ("log_p", "mean", "deviation"))
    return TokenScores(log_p, right, mean, deviation)
