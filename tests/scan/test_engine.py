"""Prompts that vLLM answers in this process: how it is called, shown on a stand-in; and itself, where it is there."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from command_line import told as run
from expunge.dialogue import Dialogue
from expunge.errors import InputError
from expunge.generation import generate
from expunge.message import Message
from expunge.model import LanguageModel, load_model
from expunge.scan.engine import QUIET, SETTINGS, Engine

INSTALLED = find_spec("vllm") is not None
WORDS = ("A", "Where is it?", "What is the phone number of Ann?", "Tell me a long story about " + "the sea and " * 9)
PROMPTS = [Dialogue((Message("user", text),), id=text, source=f"in.jsonl:{i}") for i, text in enumerate(WORDS, 1)]

Says = Callable[[list[int], dict[str, Any], int], list[int]]
"""From a prompt's ids, its settings and the number of the draw to the ids of an answer."""


@dataclass
class Stand:
    """In the place of vLLM. model: what it was begun with; asked: ids and settings of every prompt."""

    says: Says
    room: int = 128
    model: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[list[int], dict[str, Any]]] = field(default_factory=list)

    def begin(self, model: str, **settings: Any) -> Stand:
        assert not self.model, "begun twice"
        self.model = {"model": model} | settings
        self.model_config = SimpleNamespace(max_model_len=self.room)
        return self

    def generate(self, prompts: Sequence[Any], params: Sequence[Any], *, use_tqdm: bool) -> list[Any]:
        assert not use_tqdm
        found = []
        for prompt, how in zip(prompts, params, strict=True):
            ids = prompt["prompt_token_ids"]
            said = [SimpleNamespace(token_ids=self.says(ids, how, i)) for i in range(how["n"])]
            self.asked.append((ids, how))
            found.append(SimpleNamespace(outputs=said))
        return found


Install = Callable[..., Stand]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a stand-in where `import vllm` finds it."""

    def put(says: Says, room: int = 128) -> Stand:
        stand = Stand(says, room)
        module: Any = module_from_spec(ModuleSpec("vllm", None))
        module.LLM, module.SamplingParams = stand.begin, dict
        monkeypatch.setitem(sys.modules, "vllm", module)
        for name in (*SETTINGS, *QUIET):  # set, so that it is put back
            monkeypatch.setenv(name, "")
            monkeypatch.delenv(name)
        return stand

    return put


def likeliest(lm: LanguageModel) -> Says:
    """The model's own greedy answer, one forward a token."""

    def say(ids: list[int], how: dict[str, Any], _: int) -> list[int]:
        said: list[int] = []
        while len(said) < how["max_tokens"] and not set(said) & set(how["stop_token_ids"]):
            with torch.inference_mode():
                said.append(int(lm.model(torch.tensor([ids + said])).logits[0, -1].argmax()))
        return said

    return say


def test_greedy_answers_are_those_of_the_model_as_it_is_loaded(install: Install, lm: LanguageModel) -> None:
    stand = install(likeliest(lm))
    for length in (7, 100):
        found = Engine(lm.name)(PROMPTS, max_new_tokens=length, samples=0, seed=3)
        assert found == generate(lm, PROMPTS, max_new_tokens=length)
        stand.model = {}
    assert [ids for ids, _ in stand.asked] == [list(lm.format.encode_prompt(p)) for p in PROMPTS] * 2
    rooms = [how.pop("max_tokens") for _, how in stand.asked]
    assert rooms[:4] == [7] * 4 and rooms[7] == 128 - len(stand.asked[7][0]) < 100
    for _, how in stand.asked:
        assert how.pop("seed") < 2**63
        assert how == {
            "n": 1, "temperature": 0.0, "stop_token_ids": list(lm.format.end_ids), "ignore_eos": True,
            "detokenize": False,
        }  # fmt: skip


def test_the_template_given_is_the_one_taken(install: Install, lm_plain: LanguageModel, tiny: Path) -> None:
    stand = install(lambda *_: [])
    Engine(str(tiny), "plain")(PROMPTS, max_new_tokens=7, samples=0, seed=0)
    assert [ids for ids, _ in stand.asked] == [list(lm_plain.format.encode_prompt(p)) for p in PROMPTS]


def test_draws_have_seeds_of_their_own_whatever_else_is_asked(install: Install, tiny: Path) -> None:
    stand = install(lambda _, how, i: [how["seed"] % 400 + 5 + i])
    engine = Engine(str(tiny))

    def seeds(prompts: Sequence[Dialogue], seed: int) -> list[int]:
        stand.asked.clear()
        assert all(len(texts) == 3 for texts in engine(prompts, max_new_tokens=7, samples=3, seed=seed))
        assert all((how["n"], how["temperature"]) == (3, 1.0) for _, how in stand.asked)
        return [how["seed"] for _, how in stand.asked]

    first = seeds([*PROMPTS, PROMPTS[0]], 0)
    assert len(set(first)) == 5  # a prompt asked again is drawn for anew
    assert first == seeds([*PROMPTS, PROMPTS[0]], 0) and seeds(PROMPTS[2:], 0) == first[2:4]
    assert not set(first) & set(seeds(PROMPTS, 1))


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_model_is_held_in_the_precision_it_is_loaded_in_and_dies_with_the_scan(
    device: str, install: Install, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("expunge.scan.engine.usable_device", lambda _: torch.device(device))
    stand = install(lambda *_: [])
    Engine(str(tiny))(PROMPTS, max_new_tokens=7, samples=0, seed=0)
    slow = {"enforce_eager": True, "enable_chunked_prefill": False}
    assert stand.model == {
        "model": str(tiny), "dtype": "float32", "load_format": "safetensors", "max_model_len": -1,
        "skip_tokenizer_init": True, "generation_config": "vllm", "use_tqdm_on_load": False,
    } | (slow if device == "cpu" else {})  # fmt: skip
    assert (os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"], os.environ["VLLM_DO_NOT_TRACK"]) == ("0", "1")


def test_a_prompt_that_the_device_has_no_room_for_is_named(install: Install, tiny: Path) -> None:
    install(lambda *_: [], room=20)
    with pytest.raises(InputError, match=r"in.jsonl:4: \d+ tokens, but vLLM has room for 20 on this device"):
        Engine(str(tiny))(PROMPTS, max_new_tokens=7, samples=0, seed=0)


def test_missing_weights_are_not_made_up(install: Install, tiny: Path, tmp_path: Path) -> None:
    """vLLM itself answers with whatever its memory held there."""
    stand = install(lambda *_: [])
    shutil.copytree(tiny, tmp_path / "m")
    weights = load_file(tmp_path / "m" / "model.safetensors")
    del weights["model.layers.1.mlp.down_proj.weight"]
    save_file(weights, tmp_path / "m" / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match="lacks weights: model.layers.1.mlp.down_proj.weight"):
        Engine(str(tmp_path / "m"))(PROMPTS, max_new_tokens=7, samples=0, seed=0)
    assert not stand.model


@pytest.mark.parametrize("when", ["begun", "asked"])
def test_a_model_that_vllm_cannot_take_is_told_in_a_line(when: str, install: Install, tiny: Path) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise ValueError("1 validation error\n  Value error, no such architecture" + " and" * 100)

    install(refuse)
    if when == "begun":
        sys.modules["vllm"].LLM = refuse  # type: ignore[attr-defined]
    with pytest.raises(
        InputError, match="vLLM cannot answer for the model .*: 1 validation error Value error, no"
    ) as e:
        Engine(str(tiny))(PROMPTS, max_new_tokens=7, samples=0, seed=0)
    assert len(e.value.message.splitlines()) == 1 and len(e.value.message) < 500


def test_without_vllm_the_extra_is_named(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("expunge.scan.engine.find_spec", lambda _: None)
    words = ("scan", tiny, "in.jsonl", "--judge", "privacy", "--vllm", "--out", tmp_path / "v.jsonl")
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "") and "needs the package 'vllm'" in err and "pip install 'expunge[vllm]'" in err


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--device", "cpu"), "--device is for a model that is loaded without vLLM"),
        (("--server", "http://127.0.0.1:9/v1"), "--server and --vllm are two ways to answer prompts"),
        (("--template", "no.jinja"), "no such template file"),
    ],
)
def test_what_vllm_does_not_take_is_refused(
    more: tuple[str, str], told: str, install: Install, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(lambda *_: [])
    words = ("scan", tiny, "in.jsonl", "--judge", "privacy", "--vllm", *more, "--out", tmp_path / "v.jsonl")
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "") and told in err


def test_of_several_processes_it_is_refused(
    install: Install, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(lambda *_: [])
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    code, _, err = run(capsys, "scan", tiny, "in.jsonl", "--judge", "privacy", "--vllm", "--out", tmp_path / "v.jsonl")
    assert code == 2 and "--vllm answers in one process" in err and "--shard I/N" in err


def test_an_adapter_is_refused(install: Install, tmp_path: Path) -> None:
    install(lambda *_: [])
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(InputError, match="is an adapter, which --vllm does not take"):
        Engine(str(tmp_path))


def test_logged_dialogues_begin_no_vllm(
    install: Install, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stand = install(lambda *_: [])
    source = tmp_path / "in.jsonl"
    source.write_text('{"prompt": "a?", "response": "Yes."}\n')
    code, _, _ = run(capsys, "scan", tiny, source, "--judge", "privacy", "--vllm", "--out", tmp_path / "v.jsonl")
    assert code == 0 and not stand.model


def test_a_scan_by_vllm_goes_on_where_it_stopped_and_by_nothing_else(
    install: Install, lm: LanguageModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "v.jsonl"
    rows = [{"prompt": f"Number {i}?"} for i in range(300)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ("scan", lm.name, source, "--judge", "privacy", "--out", out)
    text = lm.format.tokenizer("No.", add_special_tokens=False)["input_ids"]
    broken = install(lambda *_: [*text, lm.format.end_ids[0]])
    source.write_text(source.read_text() + json.dumps({"prompt": "long " * 200}) + "\n")
    code, _, err = run(capsys, *words, "--vllm")
    assert code == 2 and "in.jsonl:301" in err and len(broken.asked) == 256 and not out.exists()
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, _, err = run(capsys, *words)
    assert code == 2 and "an unfinished scan of other input, judges or settings" in err
    stand = install(lambda *_: [*text, lm.format.end_ids[0]])
    code, told, _ = run(capsys, *words, "--vllm")
    assert code == 0 and "300 dialogues judged" in told and len(stand.asked) == 44  # the second block alone
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["messages"][-1]["content"] for row in found] == ["No."] * 300


@pytest.mark.skipif(not INSTALLED, reason="vLLM is not installed")
def test_vllm_itself_answers_as_the_model_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    lm, engine = load_model("town", device="cpu"), Engine("town")
    assert engine(PROMPTS, max_new_tokens=30, samples=0, seed=0) == generate(lm, PROMPTS, max_new_tokens=30)
    drawn = engine(PROMPTS, max_new_tokens=30, samples=3, seed=0)
    assert drawn == engine(PROMPTS, max_new_tokens=30, samples=3, seed=0)
