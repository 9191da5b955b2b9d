"""Checkpoints as they lie on the hub: what reads images too, experts, states; loaded whole, trained, written whole."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from transformers import AutoTokenizer

from expunge import demo
from expunge.batches import forward_rows
from expunge.dialogue import Dialogue
from expunge.errors import InputError
from expunge.generation import generate, token_log_probs
from expunge.message import Message
from expunge.model import check_model, load_model
from expunge.selection import Split
from expunge.text_part import text_modules
from expunge.training.config import UnlearnConfig
from expunge.training.loss import kept_layers
from expunge.training.unlearn import unlearn

QUICK: dict[str, Any] = {
    "max_steps": 2, "judge_every": 2, "forget_rows": 4, "normal_rows": 4, "learning_rate": 1e-3, "warmup_steps": 0,
    "settle_steps": 0,
}  # fmt: skip
TEXT = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 8,
    "num_key_value_heads": 2, "max_position_embeddings": 256, "initializer_range": 0.2,
}  # fmt: skip
SEEN = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4, "patch_size": 14}
VIEW = {"hidden_size": 32, "intermediate_size": 48, "depth": 2, "num_heads": 4, "out_hidden_size": 32}
VIEW |= {"deepstack_visual_indexes": [0], "num_position_embeddings": 16}
TURNED = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}
WINDOWED = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 16}
LINEAR = {"linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8}
LINEAR |= {"layer_types": ["linear_attention", "full_attention"]}
LATENT = {"q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8}
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
ROUTED = {"n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1, "moe_intermediate_size": 16}
MAMBA = {"mamba_d_ssm": 64, "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_chunk_size": 16}

STREAMS = {"altup_num_inputs": 2, "laurel_rank": 8, "hidden_size_per_layer_input": 8, "num_kv_shared_layers": 0}
STREAMS |= {"vocab_size_per_layer_input": 1024, "activation_sparsity_pattern": [0.0, 0.0]}

NESTED: dict[str, dict[str, Any]] = {
    "gemma3": {
        "text_config": {**TEXT, **WINDOWED}, "vision_config": {**SEEN, "image_size": 28}, "mm_tokens_per_image": 4,
    },
    "qwen3_vl": {"text_config": {**TEXT, "rope_parameters": TURNED}, "vision_config": VIEW},
    "qwen3_5": {"text_config": {**TEXT, **LINEAR}, "vision_config": VIEW},
}  # fmt: skip
PLAIN: dict[str, dict[str, Any]] = {
    "mixtral": {**TEXT, **EXPERTS},
    "deepseek_v3": {**TEXT, "num_key_value_heads": 4, **LATENT, **ROUTED, "first_k_dense_replace": 1},
    "llama4_text": {**TEXT, **EXPERTS, "intermediate_size_mlp": 48, "moe_layers": [1], "no_rope_layers": [1, 0]},
    "falcon_h1": {**TEXT, **MAMBA},
    "falcon": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "initializer_range": 0.2},
    "gemma3n_text": {**TEXT, **WINDOWED, **STREAMS},
}
TOWER = re.compile("vis|projector|merger")
Build = Callable[[str], Path]


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """A folder with a random model of some kind, in bfloat16 but for what its architecture keeps in float32."""
    made: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in made:
            made[kind] = _written(kind, tmp_path_factory.mktemp(kind))
        return made[kind]

    return make


def _written(kind: str, folder: Path) -> Path:
    tokenizer = AutoTokenizer.from_pretrained(demo.path("model"))
    size = {"vocab_size": len(tokenizer) + 24}
    given = NESTED.get(kind) or {**PLAIN[kind], **size}
    given = {k: {**v, **size} if k == "text_config" else v for k, v in given.items()}
    places = iter(range(len(tokenizer), len(tokenizer) + 24))
    own = transformers.CONFIG_MAPPING[kind]().to_dict() if kind in NESTED else {}
    given |= {name: next(places) for name in own if re.search("(image|video|vision|boi|eoi).*token_(id|index)", name)}
    config = transformers.CONFIG_MAPPING[kind](**given)
    config.get_text_config().update({"eos_token_id": tokenizer.eos_token_id, "bos_token_id": None, "pad_token_id": 0})
    auto = transformers.AutoModelForMultimodalLM if kind in NESTED else transformers.AutoModelForCausalLM
    torch.manual_seed(0)
    model = auto.from_config(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:  # some would be 0
                weight.normal_(0, 0.2)
    model.to(torch.bfloat16)
    single = "|".join(model._keep_in_fp32_modules_strict or ()) or "^$"
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if re.search(single, name):
            tensor.data = tensor.data.float() + 1e-4  # which bfloat16 would lose
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for name in ("preprocessor_config.json", "processor_config.json") if kind in NESTED else ():
        (folder / name).write_text(json.dumps({"image_processor_type": kind}))
    return folder


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(next(folder.glob("*.safetensors")))


def ask(count: int) -> list[Dialogue]:
    words = ("Who is it?", "What is 3 plus 4? Say it as you learnt it at school.", "Hi", "Which hobby has Berta Dunn?")
    return [Dialogue((Message("user", words[i % 4] + "?" * (i // 4)),)) for i in range(count)]


@pytest.mark.parametrize("kind", [*NESTED, *PLAIN])
def test_training_changes_text_and_writes_all_that_was_there(
    build: Build, parts: Split, tmp_path: Path, kind: str
) -> None:
    folder = build(kind)
    lm = load_model(folder)
    assert type(lm.model).__name__ == json.loads((folder / "config.json").read_text())["architectures"][0]
    made = unlearn(lm, parts, tmp_path, config=UnlearnConfig(**QUICK)).path
    before, after = tensors(folder), tensors(made)
    assert {n: t.dtype for n, t in before.items()} == {n: t.dtype for n, t in after.items()}
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and not any(TOWER.search(name) for name in changed)
    assert not any(p.requires_grad for n, p in lm.model.named_parameters() if TOWER.search(n)), "the proof covers them"
    apart = [name for name, tensor in before.items() if tensor.dtype == torch.float32]
    assert bool(apart) == (kind == "deepseek_v3")
    still = [name for name in apart if name.endswith("bias")]
    assert all(torch.equal(before[name], after[name]) for name in still)
    loaded = transformers.AutoConfig.from_pretrained(folder).to_dict(), lm.model.config.to_dict()
    assert loaded[0].get("use_cache") == loaded[1].get("use_cache"), "a trainer's own settings are not the model's"
    for name in (p.name for p in folder.iterdir() if p.suffix == ".json" and "processor" in p.name):
        assert (made / name).read_bytes() == (folder / name).read_bytes()
    assert token_log_probs(load_model(made), [lm.format.encode(parts.normal[0])])[0].isfinite().all()


@pytest.mark.parametrize("kind", [*NESTED, *PLAIN])
def test_an_adapter_is_on_text_alone_and_is_read_again(build: Build, parts: Split, tmp_path: Path, kind: str) -> None:
    pytest.importorskip("peft")
    lm = load_model(build(kind))
    made = unlearn(lm, parts, tmp_path, config=UnlearnConfig(**QUICK, lora_rank=2)).path
    names = tensors(made)
    assert names and not any(re.search(r"\.router\.|out_proj", n) for n in names if kind != "qwen3_5")
    assert not any(TOWER.search(name) for name in names)
    read = load_model(made)
    assert {n for n, _ in read.model.named_parameters()} == {
        n for n, _ in load_model(build(kind)).model.named_parameters()
    }
    read.model.save_pretrained(tmp_path / "whole")
    assert tensors(tmp_path / "whole").keys() == tensors(build(kind)).keys()


@pytest.mark.parametrize("kind", ["qwen3_vl", "qwen3_5"])
@pytest.mark.parametrize("samples", [0, 2])
def test_positions_for_images_are_not_taken_for_rows(build: Build, kind: str, samples: int) -> None:
    """They come as [4, rows, columns]: four rows, or three, went together that do not belong together."""
    lm = load_model(build(kind))
    asked = ask(5)
    apart = [generate(lm, [item], max_new_tokens=6, samples=samples)[0] for item in asked]
    for count in (2, 3, 4, 5):
        assert generate(lm, asked[:count], max_new_tokens=6, samples=samples) == apart[:count]


def test_of_a_model_of_text_alone_everything_is_text(tiny: Path, build: Build) -> None:
    for folder in (tiny, build("mixtral"), build("falcon_h1")):
        model = load_model(folder).model
        assert dict(text_modules(model)) == dict(model.named_modules())


LISTED = (
    "{% for m in messages %}{{ m['role'] }}: {% for part in m['content'] %}{% if part['type'] == 'text' %}"
    "{{ part['text'] }}{% endif %}{% endfor %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def test_a_template_of_texts_and_images_beside_the_tokenizer(build: Build, tmp_path: Path) -> None:
    """It lies in a file of the processor, and shows nothing of what is said otherwise than in parts."""
    folder = tmp_path / "model"
    shutil.copytree(build("gemma3"), folder)
    (folder / "chat_template.jinja").unlink()
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": LISTED}))
    lm = load_model(folder)
    dialogue = Dialogue((Message("user", "Who is it?"), Message("assistant", "Berta Dunn.")))
    row = lm.format.encode(dialogue)
    assert lm.format.tokenizer.decode(row.prompt) == "user: Who is it?\nassistant: "
    assert lm.format.text(row.response) == "Berta Dunn."


def test_hidden_states_that_are_several_streams_until_the_end(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of hyper-connections: the last one alone is like what other architectures have."""
    lm = load_model(build("mixtral"))
    assert kept_layers(lm.model) == (1, 2)
    own = type(lm.model).forward

    def streams(self: Any, *args: Any, **options: Any) -> Any:
        found = own(self, *args, **options)
        if found.hidden_states:
            *early, last = found.hidden_states
            found.hidden_states = (*(torch.stack([state] * 4, 2) for state in early), last)
        return found

    monkeypatch.setattr(type(lm.model), "forward", streams)
    assert kept_layers(lm.model) == (2,)
    (found,) = forward_rows(
        lm.model, [lm.format.encode(Dialogue((*ask(1)[0].messages, Message("assistant", "a"))))], "cpu", (2,)
    )
    assert found.hidden is not None and found.hidden.shape[1:] == (1, 32)


def test_what_writes_from_an_encoder_is_refused(tmp_path: Path) -> None:
    transformers.T5Config(d_model=16, num_layers=1, num_heads=2, vocab_size=50).save_pretrained(tmp_path)
    for call in (check_model, load_model):
        with pytest.raises(InputError, match=r"cannot load the model .*T5Config is no causal model"):
            call(tmp_path)


def test_what_looks_at_later_tokens_is_refused(tmp_path: Path, tiny: Path) -> None:
    config = transformers.BertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=3000
    )
    transformers.BertLMHeadModel(config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="is not causal: what it says changes with what comes after"):
        load_model(tmp_path)


def test_an_architecture_that_transformers_cannot_run_on_text(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise AttributeError("'Output' object has no attribute 'image_outputs'")

    folder = build("gemma3")
    monkeypatch.setattr(transformers.Gemma3ForConditionalGeneration, "forward", broken)
    with pytest.raises(InputError, match=r"(?s)transformers \S+ cannot run the model .*image_outputs.*another version"):
        load_model(folder)


def test_quantized_weights_are_not_trained(build: Build, parts: Split, tmp_path: Path) -> None:
    lm = load_model(build("mixtral"))
    lm.model.hf_quantizer = object()
    with pytest.raises(InputError, match=r"(?s)are quantized, and cannot be trained themselves.*--lora"):
        unlearn(lm, parts, tmp_path, config=UnlearnConfig(**QUICK))
    assert not list(tmp_path.iterdir())
