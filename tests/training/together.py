"""What each of several processes does in test_sharding: `python together.py FOLDER [NAME STEP]`.

All trainings of the folder; or the one of a name, in which the first process is killed at a step.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from expunge.errors import InputError
from expunge.model import load_model
from expunge.selection import Split
from expunge.sharding import own_part
from expunge.training.config import UnlearnConfig
from expunge.training.unlearn import unlearn


def train(folder: Path, name: str, model: str, parts: Split, config: UnlearnConfig, kill: int) -> None:
    lm = load_model(folder / model, device="cpu", sharded=True)
    weights = list(lm.model.parameters())
    share = sum(own_part(w).untyped_storage().nbytes() for w in weights) / sum(4 * w.numel() for w in weights)

    def look(entry: dict[str, Any]) -> None:
        if entry["step"] == kill:
            os.kill(os.getpid(), signal.SIGKILL)

    done = unlearn(lm, parts, folder / name, config=config, on_round=look)
    if torch.distributed.get_rank() == 0:
        (folder / f"{name}.json").write_text(json.dumps({"share": share, "history": done.history}))


def refused(folder: Path, parts: Split, config: UnlearnConfig) -> list[str]:
    """What is said of a model whose layers transformers does not share out, and of weights that stay together."""
    said = []
    for model, modules in (("gpt2", "matrices"), ("float32", "norm"), ("float32", "lm_head")):
        try:
            lm = load_model(folder / model, device="cpu", sharded=True)
            unlearn(lm, parts, folder / "refused", config=replace(config, modules=modules))
        except InputError as error:
            said.append(str(error))
    return said


def main(folder: Path, only: str = "", kill: str = "-1") -> None:
    torch.set_num_threads(1)
    parts, trainings = pickle.loads((folder / "given.pickle").read_bytes())
    for name, (model, config) in trainings.items():
        if only in ("", name):
            train(folder, name, model, parts, replace(config, sharded=True), int(kill))
    said = refused(folder, parts, replace(config, sharded=True))
    if torch.distributed.get_rank() == 0:
        (folder / "refused.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
