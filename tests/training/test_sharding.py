"""Weights shared out among processes (gloo, on the CPU): the same result, half of the weights each, and resumable."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from expunge.errors import InputError
from expunge.model import load_model
from expunge.selection import Split
from expunge.training.config import UnlearnConfig
from expunge.training.unlearn import unlearn

QUICK = UnlearnConfig(
    max_steps=6, judge_every=2, settle_steps=0, forget_rows=4, normal_rows=4,
    warmup_steps=0, learning_rate=1e-3, noise=0.0,
)  # fmt: skip
CONFIGS = {
    "killed": replace(QUICK, checkpointing=True, accumulation=2),
    "adapter": replace(QUICK, lora_rank=2),
    "many parts": replace(QUICK, method="npo", judged=False, accumulation=5, max_steps=2),
}
"""The first with an adversary in every second step; in the last some parts of a step are without rows."""


def together(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    launcher = ["torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0", "--rdzv-backend", "c10d"]
    launcher += ["--rdzv-endpoint", "localhost:0", str(Path(__file__).with_name("together.py")), *map(str, arguments)]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "EXPUNGE_DEBUG": "1"}
    return subprocess.run(
        [sys.executable, "-m", *launcher], capture_output=True, text=True, env=environment, timeout=240
    )


@pytest.fixture(scope="module")
def folder(tiny: Path, parts: Split, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two processes have done all trainings, one killed between; models are stored in two precisions."""
    folder = tmp_path_factory.mktemp("together")
    for dtype in (torch.bfloat16, torch.float32):
        place = folder / str(dtype).removeprefix("torch.")
        AutoModelForCausalLM.from_pretrained(tiny, dtype=dtype).save_pretrained(place)
        AutoTokenizer.from_pretrained(tiny).save_pretrained(place)
    (folder / "given.pickle").write_bytes(pickle.dumps((parts, CONFIGS)))
    killed = together(folder, "killed", 4)
    assert killed.returncode and not (folder / "killed/model").exists()
    assert (folder / "killed/checkpoints/checkpoint-2/complete").exists(), killed.stderr[-2000:]
    done = together(folder)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.mark.parametrize("name", CONFIGS)
def test_two_processes_with_half_the_weights_each_end_where_one_does(
    folder: Path, parts: Split, tmp_path: Path, name: str
) -> None:
    model = folder / ("float32" if CONFIGS[name].lora_rank else "bfloat16")
    alone = unlearn(load_model(model, device="cpu"), parts, tmp_path, config=CONFIGS[name])
    found = json.loads((folder / f"{name}.json").read_text())
    assert found["share"] == 0.5
    for one, other in zip(alone.history, found["history"], strict=True):
        assert one == pytest.approx(other, rel=1e-4)
    a = load_file(next(alone.path.glob("*.safetensors")))
    b = load_file(next((folder / name / alone.path.name).glob("*.safetensors")))
    assert a.keys() == b.keys() and {x.dtype for x in a.values()} == {x.dtype for x in b.values()}
    before = load_file(model / "model.safetensors")
    moved = max(float((x - before.get(key, torch.zeros(()))).abs().max()) for key, x in a.items())
    assert moved > 1e-3
    assert max(float((x - b[key]).float().abs().max()) for key, x in a.items()) < moved / 50


def test_one_process_has_nothing_to_share_out(tiny: Path, parts: Split, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one process"):
        load_model(tiny, device="cpu", sharded=True)
    with pytest.raises(InputError, match="not loaded so"):
        unlearn(load_model(tiny), parts, tmp_path, config=replace(QUICK, sharded=True))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "given",
    [{"base_bits": 4, "lora_rank": 2}, {"modules": "all"}, {"surgery": True}, {"sharpness": 0.1}, {"bits": 4}],
    ids=str,
)
def test_what_does_not_go_with_it_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(InputError, match="sharded|surgery|sharpness|bits"):
        UnlearnConfig.of("npo", sharded=True, **given)
