"""The trainer: losses and weights do not depend on how a step is computed, nor on where a run was killed."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from expunge.batches import Batch
from expunge.errors import InputError, OutputError
from expunge.identity import model_digest
from expunge.model import LanguageModel, load_model
from expunge.output_layer import OutputLayer
from expunge.selection import Split
from expunge.training.active import ActiveSet, DivergedError
from expunge.training.checkpoints import CHECKPOINTS, COMPLETE, room
from expunge.training.config import UnlearnConfig
from expunge.training.reference import Recalled, Reference
from expunge.training.unlearn import unlearn

QUICK = UnlearnConfig(
    max_steps=6, judge_every=2, forget_rows=4, normal_rows=4, learning_rate=1e-3, warmup_steps=0, settle_steps=0
)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(next(folder.glob("*.safetensors")))


@pytest.mark.parametrize("given", [{"method": "grad_ascent"}, {"positive_weight": 0.0, "adversary": 0.0}], ids=str)
def test_weights_that_break_in_the_last_step_are_no_result(
    tiny: Path, parts: Split, tmp_path: Path, given: dict[str, Any]
) -> None:
    """The losses before it were finite, and a model that says nothing at all would count as one that has forgotten."""
    config = UnlearnConfig.of(**given, max_steps=1, judge_every=1, settle_steps=0, learning_rate=1e30, warmup_steps=0)
    with pytest.raises(DivergedError, match="by step 1 what the model says is not finite"):
        unlearn(load_model(tiny), parts, tmp_path, config=config)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "chat_template.jinja", "adapter_model.bin"])
def test_whatever_is_read_of_a_model_belongs_to_a_run(tiny: Path, tmp_path: Path, name: str) -> None:
    folder, on_it = tmp_path / "model", tmp_path / "adapter"
    shutil.copytree(tiny, folder)
    on_it.mkdir()
    (on_it / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(folder)}))
    before, above = model_digest(folder), model_digest(on_it)
    (folder / "run.json").write_text("{}")
    assert model_digest(folder) == before, "a run's own files may lie beside it"
    (folder / name).write_text("something else")
    assert model_digest(folder) != before and model_digest(on_it) != above


def test_a_run_goes_on_with_the_same_config_alone(tiny: Path, parts: Split, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny, folder)
    done = unlearn(load_model(folder), parts, tmp_path / "out", config=QUICK)
    shutil.rmtree(done.path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 1e-3}))
    with pytest.raises(OutputError, match="other input or settings"):
        unlearn(load_model(folder), parts, tmp_path / "out", config=QUICK)


def largest_difference(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    assert a.keys() == b.keys()
    return max(float((a[k].float() - b[k].float()).abs().max()) for k in a)


def test_the_intended_parameters_change_and_no_others(tiny: Path, parts: Split, tmp_path: Path) -> None:
    before, after = weights(tiny), weights(unlearn(load_model(tiny), parts, tmp_path, config=QUICK).path)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if ".layers." in name and before[name].ndim == 2}


@pytest.mark.parametrize("lora_rank", [0, 4])
def test_checkpointing_runs_layers_twice_and_changes_nothing(
    tiny: Path, parts: Split, tmp_path: Path, lora_rank: int
) -> None:
    passes: list[int] = []
    found = []
    for spared in (False, True):
        lm = load_model(tiny)
        count: list[int] = []
        lm.model.model.layers[0].mlp.register_forward_pre_hook(lambda module, _, n=count: n.append(module.training))
        config = replace(QUICK, lora_rank=lora_rank, checkpointing=spared)
        found.append(unlearn(lm, parts, tmp_path / str(spared), config=config))
        passes.append(sum(count))
    assert passes[1] - passes[0] == 6
    assert largest_difference(*(weights(f.path) for f in found)) < 1e-6
    assert found[0].history == found[1].history


def test_an_architecture_without_checkpointing_is_refused(tiny: Path, parts: Split, tmp_path: Path) -> None:
    lm = load_model(tiny)
    lm.model.supports_gradient_checkpointing = False
    with pytest.raises(InputError, match="checkpointing = true: this architecture has none"):
        unlearn(lm, parts, tmp_path, config=replace(QUICK, checkpointing=True))


def test_an_adapters_model_is_unlearned_and_not_its_base(tiny: Path, parts: Split, tmp_path: Path) -> None:
    """With a second adapter the first was thrown away, silently; without, the first checkpoint failed."""
    adapter = unlearn(load_model(tiny), parts, tmp_path / "first", config=replace(QUICK, lora_rank=4)).path
    whole = load_model(adapter).model.state_dict()
    none = replace(QUICK, learning_rate=1e-12, epsilon=1.0, max_steps=2)
    done = weights(unlearn(load_model(adapter), parts, tmp_path / "second", config=none).path)
    base = weights(tiny)
    changed = [name for name in done if not torch.equal(done[name], base[name])]
    assert changed and all(torch.allclose(done[name], whole[name], atol=1e-9) for name in done)
    with pytest.raises(InputError, match="is an adapter, which cannot be trained with another adapter on top"):
        unlearn(load_model(adapter), parts, tmp_path / "third", config=replace(QUICK, lora_rank=4))


def test_settling_again_begins_at_half_the_rate(
    tiny: Path, parts: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first step after a settling that left a row active was taken at rate 0."""
    rates: list[float] = []
    step = torch.optim.AdamW.step

    def noted(self: torch.optim.AdamW, *args: Any, **options: Any) -> Any:
        rates.append(self.param_groups[0]["lr"] / 1e-3)
        return step(self, *args, **options)

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    found = iter([[], [0], [], []])  # active after each judging; the model settles but for the second
    monkeypatch.setattr(ActiveSet, "_judge", lambda self: (next(found), 0))
    monkeypatch.setattr("expunge.training.active.KEPT", 100.0)
    monkeypatch.setattr("expunge.training.active.FEW", 0.0)
    unlearn(load_model(tiny), parts, tmp_path, config=replace(QUICK, settle_steps=2, max_steps=20))
    assert rates == pytest.approx([1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25])


class Killed(BaseException):
    pass


@pytest.mark.parametrize("lora_rank", [0, 4])
def test_a_killed_run_goes_on_to_the_same_weights(tiny: Path, parts: Split, tmp_path: Path, lora_rank: int) -> None:
    config = replace(QUICK, lora_rank=lora_rank)
    straight = unlearn(load_model(tiny), parts, tmp_path / "straight", config=config)

    def kill_at_second(entry: dict[str, Any]) -> None:
        if entry["step"] == 4:
            raise Killed

    with pytest.raises(Killed):
        unlearn(load_model(tiny), parts, tmp_path / "killed", config=config, on_round=kill_at_second)
    cut_short = tmp_path / "killed" / CHECKPOINTS / "checkpoint-4"
    cut_short.mkdir(exist_ok=True)  # as if killed while writing it
    took_long(tmp_path / "killed" / CHECKPOINTS / "checkpoint-2")
    resumed = unlearn(load_model(tiny), parts, tmp_path / "killed", config=config)
    assert (tmp_path / "killed" / CHECKPOINTS / "checkpoint-4" / COMPLETE).exists(), "it was written anew"
    assert largest_difference(weights(straight.path), weights(resumed.path)) == 0.0
    assert straight.history == resumed.history
    assert 0 < straight.seconds < 1000 < resumed.seconds, "that of all parts"


def took_long(checkpoint: Path) -> None:
    """As if a thousand seconds had passed until then."""
    state = json.loads((checkpoint / "trainer_state.json").read_text())
    state["stateful_callbacks"]["ActiveSet"]["attributes"]["seconds"] += 1000
    (checkpoint / "trainer_state.json").write_text(json.dumps(state))


def test_a_run_killed_after_training_only_saves(tiny: Path, parts: Split, tmp_path: Path) -> None:
    done = unlearn(load_model(tiny), parts, tmp_path, config=QUICK)
    before = weights(done.path)
    done.path.rename(tmp_path / "aside")
    again = unlearn(load_model(tiny), parts, tmp_path, config=QUICK)
    assert largest_difference(before, weights(again.path)) == 0.0


@pytest.mark.parametrize(
    ("where", "fault"),
    [
        ("transformers.Trainer._save_checkpoint", SafetensorError("I/O error: No space left on device (os error 28)")),
        ("torch.save", RuntimeError("[enforce fail at inline_container.cc:1] . PytorchStreamWriter failed writing")),
        ("transformers.PreTrainedModel.save_pretrained", OSError(28, "No space left on device")),
    ],
)
def test_a_full_disk_is_told_and_the_training_goes_on_later(
    tiny: Path, parts: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, fault: Exception
) -> None:
    def full(*_: object, **__: object) -> None:
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(where, full)
        with pytest.raises(OutputError, match=r"(?s)cannot write here \(.*: .* free\).*A checkpoint takes about .*iB"):
            unlearn(load_model(tiny), parts, tmp_path, config=QUICK)
    assert unlearn(load_model(tiny), parts, tmp_path, config=QUICK).path.exists()


def test_a_fault_of_the_computation_is_no_full_disk(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="shapes"), room(tmp_path, 1):
        raise RuntimeError("shapes do not fit")


def test_a_folder_with_another_run_is_refused(tiny: Path, parts: Split, tmp_path: Path) -> None:
    unlearn(load_model(tiny), parts, tmp_path, config=QUICK)
    with pytest.raises(OutputError, match="finished result"):
        unlearn(load_model(tiny), parts, tmp_path, config=QUICK)
    (tmp_path / "model").rename(tmp_path / "aside")
    with pytest.raises(OutputError, match="other input or settings: negative_weight was .*, is 0.5\n"):
        unlearn(load_model(tiny), parts, tmp_path, config=replace(QUICK, negative_weight=0.5))


def test_lora_writes_an_adapter_and_leaves_the_base_alone(tiny: Path, parts: Split, tmp_path: Path) -> None:
    done = unlearn(load_model(tiny), parts, tmp_path, config=replace(QUICK, lora_rank=4))
    assert done.path.name == "adapter"
    assert all("lora_" in name for name in weights(done.path))
    adapted, base = load_model(done.path), load_model(tiny)
    rows = [base.format.encode(d) for d in parts.normal]
    batch = Batch.of(rows)
    with torch.no_grad():
        changed, original = batch.logits(adapted.model), batch.logits(base.model)
        assert (changed - original).abs().max() > 1e-4


def test_the_reference_is_the_same_kept_or_asked_for(tiny: Path, parts: Split, tmp_path: Path) -> None:
    lm = load_model(tiny)
    rows = {"normal": [lm.format.encode(d) for d in parts.normal]}
    rows["forget"] = rows["normal"][:4]
    needs = {"normal": {"vocabulary", "states"}, "forget": {"targets"}}
    kept = Reference(lm, rows, needs, tmp_path, layers=(1, 2))
    asked = Reference(lm, rows, needs, tmp_path, layers=(1, 2), kept_bytes=0)
    for kind, chosen in (("normal", [3, 0, 5]), ("forget", [2, 1])):
        some = [rows[kind][i] for i in chosen]
        for one, other in zip(kept.recall(lm.model, kind, some), asked.recall(lm.model, kind, some), strict=True):
            torch.testing.assert_close(one.last, other.last)
            torch.testing.assert_close(one.states, other.states)
            torch.testing.assert_close(one.targets, other.targets)
            assert (one.states is None) == (one.last is None) == (one.targets is not None) == (kind == "forget")
    (row,) = kept.recall(lm.model, "forget", rows["forget"][:1])
    (same,) = kept.recall(lm.model, "normal", rows["normal"][:1])
    assert row.targets is not None and same.last is not None
    log_p = OutputLayer(lm.model)(same.last).log_softmax(-1)
    own = [float(p[i]) for p, i in zip(log_p, rows["forget"][0].response, strict=True)]
    assert row.targets.tolist() == pytest.approx(own, abs=1e-5)
    assert kept.recall(lm.model, "expected", rows["forget"][:2]) == [Recalled()] * 2, "nothing was asked of these"


def test_the_reference_of_an_adapter_is_its_base(tiny: Path, parts: Split, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    lm = load_model(tiny)
    rows = [lm.format.encode(d) for d in parts.normal[:3]]
    batch, needs = Batch.of(rows), {"normal": {"vocabulary"}}

    def said(reference: Reference, model: Any) -> torch.Tensor:
        last = torch.cat([item.last for item in reference.recall(model, "normal", rows)])
        with torch.no_grad():
            return OutputLayer(lm.model)(last).log_softmax(-1)

    kept = said(Reference(lm, {"normal": rows}, needs, tmp_path), lm.model)
    options = LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    adapted = LanguageModel(lm.name, get_peft_model(lm.model, options), lm.format, lm.stored_dtype)
    asker = Reference(adapted, {"normal": rows}, needs, tmp_path, kept_bytes=0)

    def noise(module: Any, _: Any, output: torch.Tensor) -> torch.Tensor:
        return output + module.training * torch.randn_like(output)

    adapted.model.get_input_embeddings().register_forward_hook(noise)
    adapted.model.train()
    torch.testing.assert_close(kept, said(asker, adapted.model))
    assert adapted.model.training
    adapted.model.eval()
    with torch.no_grad():
        assert (batch.logits(adapted.model).log_softmax(-1) - kept).abs().max() > 1e-3


def test_training_prints_nothing(tiny: Path, parts: Split, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Results go to stdout; the Trainer's own sums are not among them."""
    unlearn(load_model(tiny), parts, tmp_path, config=QUICK)
    assert capsys.readouterr().out == ""


def test_the_result_says_how_it_ended(tiny: Path, parts: Split, tmp_path: Path) -> None:
    done = unlearn(load_model(tiny), parts, tmp_path, config=QUICK)
    saved = json.loads((done.path / "unlearning.json").read_text())
    assert saved["outcome"] == done.outcome == "steps" and saved["steps"] == done.steps == 6
    assert [entry["step"] for entry in done.history] == [2, 4, 6]


def test_without_settling_few_active_rows_are_trained_on_at_the_full_rate(
    tiny: Path, parts: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`settle_steps` 0 with few rows still active once divided by zero."""
    monkeypatch.setattr("expunge.training.active.FEW", 1.0)
    done = unlearn(load_model(tiny), parts, tmp_path, config=QUICK)
    assert done.steps == QUICK.max_steps and done.history[-1]["active"] > 0
