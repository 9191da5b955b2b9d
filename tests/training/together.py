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

from expunge.model import load_model
from expunge.selection import Split
from expunge.sharding import own_part
from expunge.training.config import UnlearnConfig
from expunge.training.unlearn import unlearn


def train(folder: Path, name: str, parts: Split, config: UnlearnConfig, kill: int) -> None:
    lm = load_model(folder / ("float32" if config.lora_rank else "bfloat16"), device="cpu", sharded=True)
    weights = list(lm.model.parameters())
    share = sum(own_part(w).untyped_storage().nbytes() for w in weights) / sum(4 * w.numel() for w in weights)

    def look(entry: dict[str, Any]) -> None:
        if entry["step"] == kill:
            os.kill(os.getpid(), signal.SIGKILL)

    done = unlearn(lm, parts, folder / name, config=config, on_round=look)
    if torch.distributed.get_rank() == 0:
        (folder / f"{name}.json").write_text(json.dumps({"share": share, "history": done.history}))


def main(folder: Path, only: str = "", kill: str = "-1") -> None:
    torch.set_num_threads(1)
    parts, configs = pickle.loads((folder / "given.pickle").read_bytes())
    for name, config in configs.items():
        if only in ("", name):
            train(folder, name, parts, replace(config, sharded=True), int(kill))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
