"""Loading: what is no usable model is said so, in one message, before anything else happens."""

from __future__ import annotations

import builtins
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import RwkvConfig, RwkvForCausalLM

from expunge.errors import InputError, MissingExtraError
from expunge.model import LanguageModel, check_model, load_model, quiet_transformers
from expunge.planning.machine import machine_of


@pytest.fixture
def copied(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "model"))


def test_what_is_known_of_a_model(lm: LanguageModel) -> None:
    assert lm.context == 128 and lm.vocabulary == lm.model.config.vocab_size
    assert lm.device == torch.device("cpu") and lm.stored_dtype == torch.float32 and not lm.model.training


@pytest.mark.parametrize("settings", ["kept", "gone", "more ends"])
@pytest.mark.parametrize("template", [None, "plain"])
def test_a_model_without_its_weights_is_otherwise_the_same(copied: Path, settings: str, template: str | None) -> None:
    file = copied / "generation_config.json"
    if settings == "gone":
        file.unlink()
    elif settings == "more ends":
        file.write_text(json.dumps(json.loads(file.read_text()) | {"eos_token_id": [5, 9]}))
    unread, loaded = (load_model(copied, template=template, device=device) for device in ("meta", "cpu"))
    assert all(p.is_meta for p in unread.model.parameters())
    assert loaded.format.shared(unread.format) is unread.format  # the same tokens of everything
    assert (unread.stored_dtype, unread.context) == (loaded.stored_dtype, loaded.context)
    assert ({5, 9} <= set(unread.format.end_ids)) == (settings == "more ends")


@pytest.mark.parametrize("name", ["no/such-model", "nowhere", "a b c", "x" * 300, "./no", ""])
def test_an_unknown_model(name: str) -> None:
    for call in (check_model, load_model):
        with pytest.raises(InputError, match=r"(?s)cannot load the model.*built-in one \(town"):
            call(name)


@pytest.mark.parametrize("name", ["./run/model", "/no/model", "~/model", "run/1/model"])
def test_what_can_only_be_a_folder_is_not_sought_on_the_hub(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`./model` was told that a repository's name may not begin with a dot."""
    monkeypatch.setattr("transformers.AutoConfig.from_pretrained", pytest.fail)
    for call in (check_model, load_model):
        with pytest.raises(InputError, match="cannot load the model .*there is no such folder"):
            call(name)


def test_an_empty_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot load the model"):
        check_model(tmp_path)


@pytest.mark.parametrize("inside", ["model/config.json", "adapter/adapter_config.json"])
def test_the_folder_of_a_run_is_told_from_the_model_in_it(tmp_path: Path, inside: str) -> None:
    """Of `run` it was said that config.json lacks a `model_type`."""
    (tmp_path / inside).parent.mkdir()
    (tmp_path / inside).write_text("{}")
    for call in (check_model, load_model):
        with pytest.raises(InputError, match=f"folder of a run.*\n.*{(tmp_path / inside).parent}$"):
            call(tmp_path)


def test_weights_cut_short(copied: Path) -> None:
    weights = next(copied.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(InputError, match="cannot load the model"):
        load_model(copied)


def test_weights_of_another_shape(copied: Path) -> None:
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps(config | {"hidden_size": 64}))
    with pytest.raises(InputError, match="cannot load the model"):
        load_model(copied)


def test_missing_weights_are_not_made_up(copied: Path) -> None:
    path = next(copied.glob("*.safetensors"))
    weights = load_file(path)
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"(?s)lacks weights.*up_proj"):
        load_model(copied)


def test_no_tokenizer(copied: Path) -> None:
    for path in copied.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(InputError, match="cannot load the model"):
        load_model(copied)


def test_a_build_of_torch_for_gpus_on_a_machine_without_one(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What torch was built for is not what is there."""

    def built_for(check_available: bool = False) -> torch.device | None:
        return None if check_available else torch.device("cuda")

    monkeypatch.setattr(torch.accelerator, "current_accelerator", built_for)
    assert load_model(tiny).device == torch.device("cpu")
    assert machine_of(None).cpu


@pytest.mark.parametrize("device", ["nonsense", "cuda:99", "mps"])
def test_a_device_that_is_not_there(tiny: Path, device: str) -> None:
    with pytest.raises(InputError, match=f"(?s)cannot use the device {device!r}.*cpu"):
        load_model(tiny, device=device)


def test_the_cpu_by_number_is_the_cpu(tiny: Path) -> None:
    from transformers import AutoModelForCausalLM

    assert load_model(tiny, device="cpu:0").model.dtype == torch.float32
    assert AutoModelForCausalLM.from_pretrained(tiny).dtype == torch.float32


def test_half_weights_are_read_as_float32_on_the_cpu(copied: Path) -> None:
    from transformers import AutoModelForCausalLM

    AutoModelForCausalLM.from_pretrained(copied, dtype=torch.float16).save_pretrained(copied)
    for device in ("cpu", "cpu:0"):
        lm = load_model(copied, device=device)
        assert (lm.model.dtype, lm.stored_dtype) == (torch.float32, torch.float16)


def test_reading_changes_no_weights(copied: Path) -> None:
    """RWKV halves those of some layers for it, and takes it back at the next training step alone."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 8, "attention_hidden_size": 16, "intermediate_size": 32}
    RwkvForCausalLM(RwkvConfig(vocab_size=50, **sizes)).save_pretrained(copied)
    model = load_model(copied, device="cpu").model
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    model(torch.tensor([[3, 4, 5]]), use_cache=False)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_an_adapter_loads_on_its_base(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peft = pytest.importorskip("peft")
    base = load_model(tiny)
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    adapted = peft.get_peft_model(load_model(tiny).model, config)
    adapted.save_pretrained(tmp_path)
    base.format.tokenizer.save_pretrained(tmp_path)
    check_model(tmp_path)
    ids = torch.tensor([[5, 6, 7]])
    loaded = load_model(tmp_path).model(ids).logits
    torch.testing.assert_close(loaded, adapted.eval()(ids).logits)
    assert not torch.allclose(loaded, base.model(ids).logits)
    lm = load_model(tmp_path)
    assert lm.adapted and not base.adapted
    assert [n for n, _ in lm.model.named_parameters()] == [n for n, _ in base.model.named_parameters()], "a plain model"

    def without_peft(name: str, *args: Any) -> Any:
        if name == "peft":
            raise ImportError
        return real(name, *args)

    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", without_peft)
    with pytest.raises(MissingExtraError, match=r"(?s)peft.*pip install 'expunge\[lora\]'"):
        load_model(tmp_path)


@pytest.mark.parametrize("targets", [["lm_head", "q_proj"], ["embed_tokens", "v_proj"]])
@pytest.mark.parametrize("whole", [[], ["norm"]])
def test_an_adapter_of_shared_weights_changes_what_it_is_on(
    copied: Path, tmp_path: Path, targets: list[str], whole: list[str]
) -> None:
    """Input and output embeddings are one matrix here; merged as it is, an adapter of one would change the other."""
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(copied)
    model.config.tie_word_embeddings = True
    model.tie_weights()
    model.save_pretrained(copied)
    base = load_model(copied)
    assert base.model.lm_head.weight is base.model.model.embed_tokens.weight
    config = peft.LoraConfig(r=2, target_modules=targets, modules_to_save=whole, init_lora_weights=False)
    adapted = peft.get_peft_model(base.model, config).eval()
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "modules_to_save" in name:
                weight.mul_(2.0)
    adapted.save_pretrained(tmp_path)
    base.format.tokenizer.save_pretrained(tmp_path)
    ids = torch.tensor([[5, 6, 7]])
    wanted = adapted(ids).logits
    lm = load_model(tmp_path)
    torch.testing.assert_close(lm.model(ids).logits, wanted)
    lm.model.save_pretrained(tmp_path / "whole")
    torch.testing.assert_close(AutoModelForCausalLM.from_pretrained(tmp_path / "whole")(ids).logits, wanted)


def test_remote_code_is_never_asked_about(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = json.loads((copied / "config.json").read_text())
    own = {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}}
    (copied / "config.json").write_text(json.dumps(config | own))
    (copied / "own.py").write_text("raise SystemExit('remote code ran')")
    monkeypatch.setattr(builtins, "input", lambda *args: pytest.fail("a question at the terminal"))
    for call in (check_model, load_model):
        with pytest.raises(InputError, match="cannot load the model"):
            call(copied)


def test_transformers_is_quiet_only_meanwhile() -> None:
    from transformers.utils import logging

    level = logging.get_verbosity()
    with pytest.raises(KeyError), quiet_transformers():
        assert logging.get_verbosity() == logging.ERROR
        raise KeyError
    assert logging.get_verbosity() == level
