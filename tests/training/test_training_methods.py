"""Every method of the table, and the options that go with each, through the real trainer."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, GPTNeoXConfig, LlamaConfig

from command_line import code_of
from expunge.encoding import Encoded
from expunge.errors import InputError, MissingExtraError
from expunge.expected import with_expected
from expunge.model import LanguageModel, load_model
from expunge.objective.methods import METHODS
from expunge.rounding import round_weight
from expunge.selection import Split
from expunge.training.config import UnlearnConfig
from expunge.training.displaced import Displaced
from expunge.training.kernels import fuse
from expunge.training.material import Material
from expunge.training.noise import add_noise
from expunge.training.surgery import Surgery
from expunge.training.trained import made_trainable
from expunge.training.unlearn import _trainer, read_unlearned, unlearn
from two_processes import in_two

QUICK = {"max_steps": 4, "judge_every": 2, "forget_rows": 4, "normal_rows": 4, "learning_rate": 1e-3}
QUICK |= {"warmup_steps": 0, "settle_steps": 0}
OPTIONS = [
    {"surgery": True}, {"sharpness": 0.05}, {"bits": 4}, {"normal_limit": 0.1}, {"modules": "layers.1.*q_proj"},
    {"surgery": True, "sharpness": 0.05, "bits": 4},
]  # fmt: skip


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(next(folder.glob("*.safetensors")))


def gradients(model: Path, parts: Split, folder: Path, config: UnlearnConfig) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradients of one step, computed in so many parts."""
    lm = load_model(model)
    parts = replace(parts, forget=with_expected(lm, parts.forget))
    trainer, _ = _trainer(lm, parts, Material.of(lm.format, parts), (), config, folder, None)
    loss = 0.0
    for number in range(config.accumulation):
        part = trainer.compute_loss(lm.model, {"part": torch.tensor([number])})
        part.backward()
        loss += float(part.detach())
    return loss, {n: p.grad for n, p in lm.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("accumulation", [3, 8])
def test_one_step_of_eight_equals_eight_parts_of_one(
    tiny: Path, parts: Split, tmp_path: Path, method: str, accumulation: int
) -> None:
    config = UnlearnConfig.of(method, **QUICK)
    loss, whole = gradients(tiny, parts, tmp_path, config)
    same_loss, split_up = gradients(tiny, parts, tmp_path, replace(config, accumulation=accumulation))
    size = max(float(g.abs().max()) for g in whole.values())
    assert same_loss == pytest.approx(loss, rel=1e-5, abs=1e-6) and size > 1e-5
    for name, grad in whole.items():
        assert float((grad - split_up[name]).abs().max()) < 1e-5 * max(1.0, size)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_options_are_the_same_however_a_step_is_split(
    tiny: Path, parts: Split, tmp_path: Path, options: dict[str, Any]
) -> None:
    config = UnlearnConfig.of("grad_diff", **QUICK, epsilon=1e-3, **options)
    one, other = (
        weights(unlearn(load_model(tiny), parts, tmp_path / str(n), config=replace(config, accumulation=n)).path)
        for n in (1, 3)
    )
    before = weights(tiny)
    assert max(float((one[name] - before[name]).abs().max()) for name in one) > 1e-3
    for name in one:
        assert float((one[name] - other[name]).abs().max()) < 2e-5


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_each_option_changes_the_result(tiny: Path, parts: Split, tmp_path: Path, options: dict[str, Any]) -> None:
    config = UnlearnConfig.of("grad_diff", **QUICK, epsilon=1e-3)
    bare, other = (
        weights(unlearn(load_model(tiny), parts, tmp_path / name, config=replace(config, **changed)).path)
        for name, changed in (("bare", {}), ("changed", options))
    )
    assert max(float((bare[name] - other[name]).abs().max()) for name in bare) > 1e-5


@pytest.mark.parametrize(
    ("modules", "named"),
    [("all", "."), ("matrices", r"layers\.\d\..*proj"), (r"layers\.1\..*down_proj", r"layers\.1\..*down_proj")],
)
def test_what_is_named_is_trained_and_nothing_else(
    tiny: Path, parts: Split, tmp_path: Path, modules: str, named: str
) -> None:
    import re

    config = UnlearnConfig.of("grad_diff", **QUICK, modules=modules)
    before, after = weights(tiny), weights(unlearn(load_model(tiny), parts, tmp_path, config=config).path)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if re.search(named, name)}


def test_an_adapter_takes_chosen_layers_and_dora(tiny: Path, parts: Split, tmp_path: Path) -> None:
    config = UnlearnConfig.of("npo", **QUICK, lora_rank=2, dora=True, modules="layers.1.*(q|v)_proj")
    found = weights(unlearn(load_model(tiny), parts, tmp_path, config=config).path)
    assert {name.split(".lora_")[0].rpartition("layers.")[2] for name in found} == {
        "1.self_attn.q_proj", "1.self_attn.v_proj"
    }  # fmt: skip
    assert any("lora_magnitude" in name for name in found)


def test_positions_are_embeddings_and_any_kind_of_layer_can_be_named(tiny: Path) -> None:
    """GPT-2: learnt positions, and layers that are no `Linear`."""
    config = GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=64, n_positions=32)

    def trained(**settings: Any) -> set[str]:
        lm = replace(load_model(tiny), model=GPT2LMHeadModel(config))
        model = made_trainable(lm, UnlearnConfig.of(**settings)).model
        return {name for name, parameter in model.named_parameters() if parameter.requires_grad}

    assert not any("wpe" in name or "wte" in name for name in trained())
    assert all("c_proj" in name for name in trained(lora_rank=2, modules="c_proj"))


@pytest.mark.parametrize(
    "config",
    [
        GPT2Config(n_embd=32, n_layer=2, n_head=4, resid_pdrop=0.5, embd_pdrop=0.5, attn_pdrop=0.5),
        LlamaConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, attention_dropout=0.5),
        GPTNeoXConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, hidden_dropout=0.5),
    ],
    ids=lambda config: config.model_type,
)
def test_nothing_is_dropped_while_training(config: Any, tiny: Path, parts: Split, tmp_path: Path) -> None:
    """A model that has not moved yet is where the original is."""
    lm = load_model(tiny)
    config.vocab_size = lm.vocabulary
    lm = replace(lm, model=AutoModelForCausalLM.from_config(config).eval())
    settings = QUICK | {"max_steps": 1, "judge_every": 1}
    done = unlearn(lm, parts, tmp_path, config=UnlearnConfig.of(**settings, noise=0.0, adversary=0.0))
    assert done.history[0]["hidden"] == pytest.approx(0, abs=1e-6)
    assert done.history[0]["normal"] == pytest.approx(0, abs=1e-5)


def test_a_term_without_a_weight_is_refused() -> None:
    with pytest.raises(InputError, match="the positive one has no positive_weight"):
        UnlearnConfig.of("npo", terms=("npo", "cluster_mean", "kl"))


def test_fused_kernels_are_asked_for_by_name(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Liger's names as of 0.8; nothing of its losses, which would take the place of the model's forward."""
    lm = load_model(tiny)
    with pytest.raises(InputError, match="this is a CPU"):
        fuse(lm)
    monkeypatch.setattr(LanguageModel, "device", torch.device("cuda"))
    monkeypatch.setitem(sys.modules, "liger_kernel", None)
    with pytest.raises(MissingExtraError, match=re.escape("expunge[liger]")):
        fuse(lm)
    asked: list[dict[str, Any]] = []
    kinds: dict[str, Any] = {}
    patches = SimpleNamespace(MODEL_TYPE_TO_APPLY_LIGER_FN=kinds)
    liger = SimpleNamespace(monkey_patch=patches, _apply_liger_kernel_to_instance=lambda **given: asked.append(given))
    for name in ("liger_kernel", "liger_kernel.transformers"):
        monkeypatch.setitem(sys.modules, name, liger)
    monkeypatch.setattr("transformers.integrations.liger.is_liger_kernel_available", lambda: True)
    with pytest.raises(InputError, match="no kernels for 'llama'"):
        fuse(lm)
    kinds["llama"] = object()
    fuse(lm)
    assert asked == [{"model": lm.model, "cross_entropy": False, "fused_linear_cross_entropy": False}]


def test_modules_that_name_nothing_are_refused(tiny: Path, parts: Split, tmp_path: Path) -> None:
    for lora_rank in (0, 2):
        config = UnlearnConfig.of("npo", **QUICK, modules="no_such_layer", lora_rank=lora_rank)
        with pytest.raises(InputError, match="no_such_layer"):
            unlearn(load_model(tiny), parts, tmp_path / str(lora_rank), config=config)


def test_a_change_of_what_is_fixed_is_noticed(
    tiny: Path, parts: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = load_model(tiny)

    def spoil(*_: Any) -> None:
        with torch.no_grad():
            lm.model.model.norm.weight[0] += 1e-3

    monkeypatch.setattr("expunge.training.unlearn._train", spoil)
    with pytest.raises(AssertionError, match="not to be trained"):
        unlearn(lm, parts, tmp_path, config=UnlearnConfig.of("npo", **QUICK))


def test_without_a_judge_all_rows_are_trained_on_to_the_last_step(tiny: Path, parts: Split, tmp_path: Path) -> None:
    done = unlearn(load_model(tiny), parts, tmp_path, config=UnlearnConfig.of("npo", **QUICK))
    assert done.outcome == "unjudged" and [entry["step"] for entry in done.history] == [2, 4]
    assert all(entry.keys() == {"step", "negative", "normal"} for entry in done.history)


class Killed(BaseException):
    pass


def test_a_multiplier_survives_a_kill(tiny: Path, parts: Split, tmp_path: Path) -> None:
    config = UnlearnConfig.of("pdu", **QUICK, bits=4, sharpness=0.05, surgery=True)
    straight = unlearn(load_model(tiny), parts, tmp_path / "straight", config=config)

    def kill(entry: dict[str, Any]) -> None:
        if entry["step"] == 4:
            raise Killed

    with pytest.raises(Killed):
        unlearn(load_model(tiny), parts, tmp_path / "killed", config=config, on_round=kill)
    resumed = unlearn(load_model(tiny), parts, tmp_path / "killed", config=config)
    a, b = weights(straight.path), weights(resumed.path)
    assert all(torch.equal(a[name], b[name]) for name in a) and straight.history == resumed.history


def test_surgery_by_hand() -> None:
    """g = (2, −1), n = (0, 2): ⟨g, n⟩ = −2, ‖n‖² = 4, so g + n/2 = (2, 0) is added to n. Where they agree, all of g."""
    for forgotten, wanted in (((2.0, -1.0), [2.0, 2.0]), ((2.0, 1.0), [2.0, 3.0])):
        model = torch.nn.Linear(2, 1)  # with a bias that no loss reads
        surgery = Surgery()
        for half in range(2):
            loss = (model.weight[0] * torch.tensor(forgotten)).sum() / 2
            surgery.add(model, loss + half * 0.0)
        (model.weight[0, 1] * 2.0).backward()
        surgery.operate(model)
        assert model.weight.grad is not None and model.weight.grad[0].tolist() == pytest.approx(wanted)
        assert model.bias.grad is not None and model.bias.grad.tolist() == [0]


def test_in_a_step_two_terms_forget_and_two_keep(tiny: Path, parts: Split, tmp_path: Path) -> None:
    """As above: g = (2, −1) of the one and the other term that forget, n = (0, 2), half of it of each that keeps."""
    lm = load_model(tiny)
    parts = replace(parts, forget=with_expected(lm, parts.forget))
    config = UnlearnConfig.of(**QUICK, surgery=True, terms=("distance", "normal_nll"))
    trainer, _ = _trainer(lm, parts, Material.of(lm.format, parts), (), config, tmp_path, None)
    weight = next(p for p in lm.model.parameters() if p.requires_grad)
    a, b = weight.detach()[0, :2].tolist()

    def weighed(*_: Any) -> dict[str, torch.Tensor]:
        first, second = weight[0, 0], weight[0, 1]
        return {"negative": 2 * first, "positive": -second, "normal": 1.0 * second, "hidden": 1.0 * second}

    trainer._weighed = weighed
    loss = trainer.training_step(lm.model, {"part": torch.tensor([0])})
    assert float(loss) == pytest.approx(2 * a - b + 2 * b)
    assert weight.grad is not None and weight.grad[0, :3].tolist() == pytest.approx([2, 2, 0])


def test_weights_are_moved_for_the_gradients_and_put_back(tiny: Path) -> None:
    lm = load_model(tiny)
    weight = lm.model.model.layers[0].mlp.up_proj.weight.requires_grad_()
    for parameter in lm.model.parameters():
        parameter.requires_grad_(parameter is weight)
    optimizer = torch.optim.AdamW([weight], lr=0.1)
    place = weight.detach().clone()

    class State:
        global_step = 1

    given: dict[str, Any] = {"model": lm.model, "optimizer": optimizer}
    rounded = Displaced(UnlearnConfig(bits=4))
    rounded.on_step_begin(None, State, None, **given)
    assert torch.equal(weight, round_weight(place, 4, 32)) and not torch.equal(weight, place)
    rounded.on_pre_optimizer_step(None, State, None)
    assert torch.equal(weight, place)
    rounded.on_step_begin(None, SimpleNamespace(global_step=2), None, **given)
    assert torch.equal(weight, place), "every second step"

    optimizer.state[weight]["exp_avg"] = torch.full_like(weight, 2.0)
    uphill = Displaced(UnlearnConfig(sharpness=0.3))
    uphill.on_step_begin(None, State, None, **given)
    moved = weight.detach() - place
    assert float(moved.norm()) == pytest.approx(0.3, rel=1e-4) and float(moved.std()) < 1e-6
    uphill.on_pre_optimizer_step(None, State, None)
    assert torch.equal(weight, place)


def test_noise_is_as_wide_as_for_a_row_however_rows_are_packed(tiny: Path) -> None:
    """Rows of 4 and 12 tokens, 8 on the mean; width 32: at most 2 / √(8 · 32) = 1/8, whatever the sequence's length."""
    lm = load_model(tiny)
    rows = [Encoded((1,) * n, (2,), (True,)) for n in (3, 11)]
    handle = add_noise(lm.model, 2.0, rows)
    embeddings, ids = lm.model.get_input_embeddings(), torch.ones(1, 5000, dtype=torch.long)
    plain = embeddings(ids)
    lm.model.train()
    noise = embeddings(ids) - plain
    assert float(noise.abs().max()) == pytest.approx(1 / 8, rel=1e-3)
    assert abs(float(noise.mean())) < 1e-3 and float(noise.std()) == pytest.approx(1 / 8 / 3**0.5, rel=0.02)
    handle.remove()
    assert torch.equal(embeddings(ids), plain)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"method": "npoo"}, "npo"),
        ({"terms": ("npo", "wga")}, "more than one"),
        ({"terms": ("npos",)}, "npo"),
        ({"method": "npo", "options": {"betta": 1.0}}, "beta"),
        ({"options": {"ignorance": 0.1}}, "unknown option"),
        ({"bits": 4, "lora_rank": 2}, "bits"),
        ({"dora": True}, "lora_rank"),
        ({"modules": "("}, "modules"),
        ({"modules": "all", "lora_rank": 2}, "modules"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        UnlearnConfig.of(**given)


def test_what_never_seen_dialogues_bring_has_its_options() -> None:
    config = UnlearnConfig(options={"width": 0.5})
    assert config.named_terms(never_seen=True) == ("match", "cluster_mean", "rise", "hidden")
    assert config.named_terms(never_seen=False) == ("distance", "cluster_mean", "rise", "hidden")


@pytest.mark.parametrize("top", [0, 1.5])
def test_how_many_of_the_likeliest_is_a_whole_number(top: float, tiny: Path, parts: Split, tmp_path: Path) -> None:
    config = UnlearnConfig.of("npo", **QUICK, terms=("npo", "kl_top"), options={"top": top})
    with pytest.raises(InputError, match="top = .*whole number"):
        unlearn(load_model(tiny), parts, tmp_path, config=config)


def test_kl_of_all_but_one_token_is_kl(tiny: Path, parts: Split, tmp_path: Path) -> None:
    """With one token left for the others nothing is taken together; more than there are is as many as there are."""
    done = [
        unlearn(load_model(tiny), parts, tmp_path / name, config=UnlearnConfig.of("npo", **QUICK, **given))
        for name, given in (
            ("whole", {"terms": ("npo", "kl")}),
            ("top", {"terms": ("npo", "kl_top"), "options": {"top": 1e6}}),
        )
    ]
    whole, top = (weights(each.path) for each in done)
    assert all(torch.allclose(whole[name], top[name], atol=1e-5) for name in whole)


def test_terms_and_options_of_ones_own(tiny: Path, parts: Split, tmp_path: Path) -> None:
    config = UnlearnConfig.of("npo", **QUICK, terms=("npo", "cluster_mean", "kl"), positive_weight=1.0)
    done = unlearn(load_model(tiny), parts, tmp_path / "a", config=config)
    assert done.history[0].keys() == {"step", "negative", "positive", "normal"}
    other = unlearn(load_model(tiny), parts, tmp_path / "b", config=replace(config, options={"beta": 3.0}))
    assert other.history[0]["negative"] != done.history[0]["negative"]


UNLEARN = ["--method", "grad_diff_kl", "--steps", "3", "--learning-rate", "1e-3", "--device", "cpu", "--json"]


@pytest.fixture(scope="module")
def alone(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with rows, and `one`: what one process makes of them."""
    folder = tmp_path_factory.mktemp("alone")
    rows = [{"question": f"What is number {i}?", "answer": f"It is {i}-{i + 3}-{i + 5}."} for i in range(5)]
    (folder / "forget.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    rows = [{"question": f"What is {i} plus 1?", "answer": f"It is {i + 1}." * (1 + i % 2)} for i in range(9)]
    (folder / "normal.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = (folder / "forget.jsonl", "--normal", folder / "normal.jsonl")
    assert code_of("unlearn", tiny, *files, *UNLEARN, "--out", folder / "one") == 0
    return folder


@pytest.mark.parametrize("options", [[], ["--sharded"]], ids=str)
def test_two_processes_end_where_one_does(tiny: Path, alone: Path, tmp_path: Path, options: list[str]) -> None:
    """gloo on two CPU processes, each with half of every step's parts; and with half of the weights."""
    words = ("unlearn", tiny, "forget.jsonl", "--normal", "normal.jsonl", *UNLEARN, *options, "--out", tmp_path / "two")
    both = in_two("-m", "expunge", *words, timeout=120, cwd=alone)
    assert both.returncode == 0, both.stderr[-2000:]
    assert json.loads(both.stdout)["steps"] == read_unlearned(alone / "one/model").steps == 3
    a, b, before = weights(alone / "one/model"), weights(tmp_path / "two/model"), weights(tiny)
    changed = max(float((a[name] - before[name]).abs().max()) for name in a)
    assert changed > 2e-4 and max(float((a[name] - b[name]).abs().max()) for name in a) < changed / 100
