"""Weights shared out among processes (gloo, on the CPU): the same result, half of the weights each, and resumable."""

from __future__ import annotations

import json
import pickle
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from expunge.errors import InputError
from expunge.model import load_model
from expunge.selection import Split
from expunge.training.config import UnlearnConfig
from expunge.training.unlearn import unlearn
from two_processes import in_two

QUICK = UnlearnConfig(
    max_steps=6, judge_every=2, settle_steps=0, forget_rows=4, normal_rows=4,
    warmup_steps=0, learning_rate=1e-3, noise=0.0,
)  # fmt: skip
TRAININGS = {
    "killed": ("bfloat16", replace(QUICK, checkpointing=True, accumulation=2)),
    "adapter": ("float32", replace(QUICK, lora_rank=2)),
    "many parts": ("tied", replace(QUICK, method="npo", judged=False, accumulation=5, max_steps=2)),
}
"""Models and settings. The first with an adversary in every second step; in the last some parts are without rows."""


def together(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return in_two(Path(__file__).with_name("together.py"), *arguments, timeout=240, EXPUNGE_DEBUG="1")


@pytest.fixture(scope="module")
def folder(tiny: Path, parts: Split, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two processes have done all trainings, one killed between; models are stored in two precisions."""
    folder = tmp_path_factory.mktemp("together")
    same = {"vocab_size": 1024, "bos_token_id": None, "initializer_range": 0.2, "tie_word_embeddings": True}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "num_hidden_layers": 2}
    torch.manual_seed(0)
    models = {
        "bfloat16": AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.bfloat16),
        "float32": AutoModelForCausalLM.from_pretrained(tiny),
        "tied": Qwen3ForCausalLM(Qwen3Config(**same, **heads, hidden_size=32, intermediate_size=64)),
        "gpt2": GPT2LMHeadModel(GPT2Config(**same, n_embd=32, n_layer=2, n_head=4)),
    }
    for name, model in models.items():
        model.save_pretrained(folder / name)
        AutoTokenizer.from_pretrained(tiny).save_pretrained(folder / name)
    (folder / "given.pickle").write_bytes(pickle.dumps((parts, TRAININGS)))
    killed = together(folder, "killed", 4)
    assert killed.returncode and not (folder / "killed/model").exists()
    assert (folder / "killed/checkpoints/checkpoint-2/complete").exists(), killed.stderr[-2000:]
    done = together(folder)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.mark.parametrize("name", TRAININGS)
def test_two_processes_with_half_the_weights_each_end_where_one_does(
    folder: Path, parts: Split, tmp_path: Path, name: str
) -> None:
    model, config = folder / TRAININGS[name][0], TRAININGS[name][1]
    alone = unlearn(load_model(model, device="cpu"), parts, tmp_path, config=config)
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


def test_what_would_not_stay_apart_is_refused(folder: Path) -> None:
    layers, norm, head = json.loads((folder / "refused.json").read_text())
    assert "does not share out the layers" in layers
    assert "Leave it out of `modules`: model.norm.weight." in norm and "lm_head.weight" in head
    assert not (folder / "refused").exists()


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
