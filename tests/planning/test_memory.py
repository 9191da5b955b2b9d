"""Every term by arithmetic done by hand, what layers keep to the byte, and that more never takes less."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, GPT2Config, GPTNeoXConfig, LlamaConfig, Qwen3Config

from expunge import generation, host
from expunge.objective import chunks, terms
from expunge.planning import mirror, original
from expunge.planning.memory import Memory, Way, layer_bytes, memory_of, read_bytes
from expunge.planning.original import kept_bytes
from expunge.planning.sizes import Sizes, sizes_of
from expunge.planning.workload import Workload
from expunge.training import adversary, reference
from expunge.training.config import UnlearnConfig
from expunge.training.trained import made_trainable, still


def llama(**changed: Any) -> Sizes:
    fields = {
        "model_type": "llama", "vocab_size": 10, "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "dtype": "bfloat16",
    }  # fmt: skip
    return sizes_of(fields | changed, Path("config.json"))


CONFIG = UnlearnConfig(forget_rows=2, normal_rows=3)
WORK = Workload(forget=5, normal=20, prompt=12, response=8)
"""7 rows of 20 tokens, 146 with padding, in sequences of 44."""

LINEAR = 2 * (8 * 8 + 2 * 8 * 4 + 8 * 8 + 3 * 8 * 16)  # 1152
PARAMETERS = LINEAR + 2 * 2 * 8 + 8 + 2 * 10 * 8  # 1352
ADAPTER = 2 * 3 * ((8 + 8) + 2 * (8 + 4) + (8 + 8) + 3 * (8 + 16))  # rank 3: 768
LAYER = 4 * (4 * 8 + 4 * 8 + 4 * 16 + 44 + 2 + 2)  # norms, attention, MLP, mask, statistics: 704 bytes a token
READ = 4 * 8 * (8 * 3 * 7 + 2 * 20 * (7 + 3 * 3))  # for the output layer; hidden states
KEPT = 4 * 20 * (8 + 8 * 2 * 20)
JUDGING = 5 * 20 * (4 * (2 * 8 + 3 * 16) + 4 * 10 * 8 / 20)  # the old responses are read all at once


def test_what_a_plan_repeats_of_the_trainer_is_as_there() -> None:
    own = {name: mirror.Term(term.slot, term.reads, term.original) for name, term in terms.TERMS.items()}
    assert own == mirror.TERMS and terms.TERMS["kl_top"].options["top"] == mirror.TOP
    assert (mirror.CHUNK, mirror.KEPT_BYTES) == (chunks.NUMBERS, reference.KEPT_BYTES)
    assert (mirror.BATCH_TOKENS, mirror.BATCH_LOGITS) == (generation.TOKENS, generation.LOGITS)
    assert (host.CPU_TOKENS, adversary.ROWS, adversary.STEPS) == (
        mirror.CPU_TOKENS, mirror.ADVERSARY_ROWS, mirror.ADVERSARY_STEPS,
    )  # fmt: skip


def test_full_training_on_a_cpu() -> None:
    found = memory_of(llama(), WORK, CONFIG, Way("full"))
    assert found == Memory(
        weights=4 * PARAMETERS,
        casts=0,
        gradients=4 * LINEAR,
        optimizer=8 * LINEAR,
        displaced=4 * LINEAR,
        activations=2 * LAYER * 146 + READ,
        logits=4 * 4 * 10 * 8 * 3,
        layer=4 * (2 * 8 + 3 * 16) * 146,
        reference=0,
        judging=JUDGING,
        held=False,
        adversary=2 * (LAYER - 4 * 2) * 42 + 4 * 8 * 8 * 3 * 2 + 4 * (2 * 8 + 3 * 16) * 42,
    )
    kept = 4 * PARAMETERS + 12 * LINEAR
    assert found.peak == kept + 2 * LAYER * 146 + READ + 4 * (2 * 8 + 3 * 16) * 146


def test_a_lora_adapter_on_a_cpu() -> None:
    found = memory_of(llama(), WORK, CONFIG, Way("lora", 3))
    assert (found.weights, found.casts) == (4 * PARAMETERS + 4 * ADAPTER, 0)
    assert (found.gradients, found.optimizer) == (4 * ADAPTER, 8 * ADAPTER)
    assert found.activations == 2 * (LAYER + 4 * 3 * 7) * 146 + READ


def test_full_training_in_mixed_precision() -> None:
    """float32 weights, and bfloat16 copies of the matrices and of the output layer."""
    found = memory_of(llama(), WORK, CONFIG, Way("full", cpu=False))
    assert (found.weights, found.casts) == (4 * PARAMETERS, 2 * (LINEAR + 80))
    inputs = 5 * 8  # queries, keys and values; gate and up
    layer = 4 * 2 * 8 + 2 * (inputs + 4 * 8 + 4 * 16 + 44) + 4 * (2 + 2)
    assert found.activations == 2 * layer * 146 + READ
    single = memory_of(llama(dtype="float32"), WORK, CONFIG, Way("full", cpu=False))
    assert (single.casts, single.activations) == (0, 2 * LAYER * 146 + READ)


def test_adapters_in_half_precision_and_in_four_bits() -> None:
    lora, qlora = (memory_of(llama(), WORK, CONFIG, Way(m, 3, cpu=False)) for m in ("lora", "qlora"))
    assert lora.weights == 2 * PARAMETERS + 4 * ADAPTER
    assert qlora.weights == pytest.approx(0.516 * LINEAR + 2 * (PARAMETERS - LINEAR) + 4 * ADAPTER)
    assert qlora.casts == 2 * 8 * 16  # the one matrix at work
    assert qlora.activations == lora.activations
    assert memory_of(llama(dtype="float32"), WORK, CONFIG, Way("qlora", 3, cpu=False)) == qlora, (
        "it is loaded in bfloat16"
    )
    alone = memory_of(llama(), WORK, CONFIG, Way("qlora", 3, cpu=True))
    assert alone.weights == pytest.approx(0.516 * LINEAR + 4 * (PARAMETERS - LINEAR + ADAPTER))
    assert alone.casts == 4 * 8 * 16


def test_checkpointing_keeps_one_layer_and_the_inputs_of_the_others() -> None:
    found = memory_of(llama(), WORK, CONFIG, Way("full", checkpointing=True))
    assert found.activations == (2 * 4 * 8 + LAYER) * 146 and LAYER * 146 > READ  # either the layer or what is read
    mixed = memory_of(llama(), WORK, CONFIG, Way("full", checkpointing=True, cpu=False))
    assert mixed.casts == 2 * (LINEAR / 2 + 80)


def test_a_reference_that_cannot_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frozen copy, or the adapter switched off."""
    assert kept_bytes(llama(), WORK, CONFIG) == KEPT
    monkeypatch.setattr(original, "KEPT_BYTES", KEPT - 1)
    full, lora = (memory_of(llama(), WORK, CONFIG, way) for way in (Way("full"), Way("lora", 3)))
    assert (full.reference, lora.reference) == (4 * PARAMETERS, 0)


def test_logits_are_there_in_chunks() -> None:
    found = memory_of(llama(vocab_size=2**20), WORK, CONFIG, Way("full"))
    assert found.logits == 4 * 4 * 2**22
    whole = memory_of(llama(vocab_size=2**20), WORK, dataclasses.replace(CONFIG, method="paper"), Way("full"))
    assert whole.logits == 4 * 6 * 2**22


def test_a_kl_needs_all_that_the_original_says() -> None:
    config = dataclasses.replace(CONFIG, terms=("distance", "cluster_mean", "kl", "hidden"))
    found = memory_of(llama(), WORK, config, Way("full"))
    assert found.reference == 0
    assert kept_bytes(llama(), WORK, config) == 4 * 20 * 8 * (8 + 2 * 20)
    assert found.activations == 2 * LAYER * 146 + READ + 4 * 8 * 8 * 3


def test_what_is_kept_is_what_the_terms_ask_of_the_original() -> None:
    """Of 5 rows to forget and 20 normal ones: 8 response tokens of 20, 8 numbers wide."""
    states, whole, targets = 4 * 20 * 2 * 20 * 8, 4 * 5 * 8 * 8, 4 * 5 * 8
    for method, wanted in (("rmu", states), ("undial", whole), ("npo", targets), ("idk_dpo", 2 * targets), ("ceu", 0)):
        config = UnlearnConfig.of(method, forget_rows=2, normal_rows=3)
        assert kept_bytes(llama(), WORK, config) == wanted
    assert read_bytes(llama(), WORK.step(config := UnlearnConfig.of("undial", forget_rows=2)), config) == 4 * 8 * 8 * 8
    rmu = UnlearnConfig.of("rmu", forget_rows=2, normal_rows=3)
    assert read_bytes(llama(), WORK.step(rmu), rmu) == 4 * 8 * (8 * 3 * 5 + 2 * 20 * (5 + 3 * 3))


@pytest.mark.parametrize(
    ("method", "rows"),
    [
        ("default", (2, 2, 3)), ("npo", (2, 0, 3)), ("idk_dpo", (2, 2, 3)), ("flat", (2, 2, 0)), ("flat_tv", (2, 2, 0)),
        ("jensun", (0, 2, 3)), ("idk_nll", (0, 2, 3)), ("ceu", (2, 0, 0)),
    ],
)  # fmt: skip
def test_the_rows_of_a_step_are_those_that_terms_read(method: str, rows: tuple[int, int, int]) -> None:
    step = WORK.step(UnlearnConfig.of(method, forget_rows=2, normal_rows=3))
    assert (step.pushed, step.taught, step.kept) == rows


def test_an_adversarys_pass_keeps_its_activations_whatever_is_spared() -> None:
    """2 of the 5 rows; 42 tokens in one sequence."""
    config = dataclasses.replace(CONFIG, accumulation=2, adversary=0.4)
    found = memory_of(llama(), WORK, config, Way("full", checkpointing=True))
    assert found.adversary == 2 * (LAYER - 4 * 2) * 42 + 4 * 8 * 8 * 3 * 2 + 4 * (2 * 8 + 3 * 16) * 42
    assert found.peak >= found.weights + found.optimizer + found.displaced + found.adversary
    assert memory_of(llama(), WORK, dataclasses.replace(config, adversary=0.0), Way("full")).adversary == 0


def test_terms_left_out_take_nothing() -> None:
    config = UnlearnConfig(forget_rows=2, normal_rows=3, normal_weight=0, hidden_weight=0, negative_weight=0)
    found = memory_of(llama(), WORK, config, Way("full"))
    assert kept_bytes(llama(), WORK, config) == found.reference == 0
    layer = LAYER - 4 * 44 + 4 * 42  # two rows lie in one sequence
    assert found.activations == 2 * layer * 42 + 4 * 8 * 8 * 3 * 2


def test_accumulation_halves_a_part_and_holds_the_gradients() -> None:
    whole, parts = (
        memory_of(llama(), WORK, dataclasses.replace(CONFIG, normal_rows=4, accumulation=n), Way("full"))
        for n in (1, 2)
    )
    assert parts.activations * 2 == whole.activations and parts.held and not whole.held
    assert parts.peak - parts.gradients < whole.peak


def test_weights_shared_out_among_four_processes() -> None:
    """Each has a quarter and, put together, two layers and the output layer; it takes 1 + 1 + 1 rows: 62 tokens."""
    layer, read = LINEAR / 2, 4 * 8 * (8 * 3 * 3 + 2 * 20 * (3 + 3))
    full = memory_of(llama(), WORK, CONFIG, Way("full", processes=4))
    assert full.weights == 4 * (PARAMETERS / 4 + 2 * layer + 10 * 8)
    assert full.gradients == LINEAR + 4 * 2 * layer and full.optimizer == 2 * LINEAR and full.displaced == LINEAR
    assert full.activations == 2 * LAYER * 62 + read and full.judging == JUDGING and full.reference == 0
    lora = memory_of(llama(), WORK, CONFIG, Way("lora", 3, processes=4))
    assert lora.weights == full.weights + 4 * ADAPTER
    assert lora.gradients == 4 * ADAPTER and lora.optimizer == 8 * ADAPTER, "an adapter is whole in each"


def test_what_is_at_its_peak_at_once() -> None:
    found = Memory(1, 2, 40, 4, 128, 8, 16, 20, 32, 64, held=False)
    always = 1 + 4 + 128 + 32
    assert found.peak == always + 64
    assert dataclasses.replace(found, judging=0).peak == always + 40 + 20
    assert dataclasses.replace(found, logits=99).peak == always + 2 + 8 + 99
    assert dataclasses.replace(found, held=True).peak == always + 40 + 2 + 8 + 20


def test_weights_that_are_put_back_are_kept_meanwhile() -> None:
    changes = [{"adversary": 0.0}, {"adversary": 0.0, "bits": 4}, {"adversary": 0.0, "sharpness": 0.1}, {"bits": 4}]
    configs = [dataclasses.replace(CONFIG, **change) for change in changes]  # type: ignore[arg-type]
    found = [memory_of(llama(), WORK, config, Way("full")).displaced / LINEAR for config in configs]
    assert found == [0, 4, 4, 8]
    assert memory_of(llama(), WORK, CONFIG, Way("lora", 3)).displaced == 0, "an adapter has no adversary unless asked"


SAME = {"vocab_size": 50, "hidden_size": 64, "num_attention_heads": 4, "max_position_embeddings": 64}
GATED = SAME | {"intermediate_size": 160, "num_key_value_heads": 2}
LAYERS = {
    "llama": (LlamaConfig, GATED),
    "qwen3": (Qwen3Config, GATED | {"head_dim": 16}),
    "gpt_neox": (GPTNeoXConfig, SAME | {"intermediate_size": 256}),
    "gpt2": (GPT2Config, SAME | {"bos_token_id": 0, "eos_token_id": 0}),  # drops a tenth, but not while it unlearns
}


@pytest.mark.filterwarnings("ignore:fan_in_fan_out")
@pytest.mark.parametrize("rank", [0, 4])
@pytest.mark.parametrize("name", LAYERS)
def test_what_a_layer_keeps_for_the_backward_pass_to_the_byte(name: str, rank: int) -> None:
    """The third layer of three: what autograd saves with it, less what it saves without."""
    made, fields = LAYERS[name]
    kept = [saved(made(**fields, num_hidden_layers=layers), rank) for layers in (2, 3)]
    sizes = sizes_of(made(**fields, num_hidden_layers=3).to_dict(), Path("config.json"))
    assert kept[1] - kept[0] == 3 * 40 * layer_bytes(sizes, 40, Way("lora" if rank else "full", rank))


def saved(config: Any, rank: int) -> int:
    """Bytes that autograd saves in a forward of 3 rows with 40 columns, parameters aside."""
    model = AutoModelForCausalLM.from_config(config)
    if rank:
        model = get_peft_model(model, LoraConfig(r=rank, target_modules="all-linear", task_type="CAUSAL_LM"))
    else:
        made_trainable(Model(model), CONFIG)
    still(model)
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, torch.Tensor] = {}  # held, so that no place is used twice

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    ids = torch.ones(3, 40, dtype=torch.long)
    mask = torch.ones_like(ids)
    mask[0, :5] = 0
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = model(input_ids=ids, attention_mask=mask, use_cache=False)
    assert out.logits.requires_grad
    return sum(t.untyped_storage().nbytes() for place, t in kept.items() if place not in parameters)


@dataclasses.dataclass
class Model:
    model: Any


NUMBERS = st.integers(1, 40)
WAYS = st.builds(
    lambda method, rank, again, cpu: Way(method, 0 if method == "full" else rank, again, cpu),
    st.sampled_from(["full", "lora", "qlora"]),
    NUMBERS,
    st.booleans(),
    st.booleans(),
)
WORKS = st.builds(Workload, NUMBERS, NUMBERS, NUMBERS, NUMBERS)
CONFIGS = st.builds(
    UnlearnConfig, forget_rows=NUMBERS, normal_rows=NUMBERS, accumulation=st.integers(1, 4), max_steps=NUMBERS
)


@given(WORKS, CONFIGS, WAYS, st.sampled_from(["forget", "normal", "prompt", "response"]), NUMBERS)
def test_more_to_unlearn_never_takes_less(
    work: Workload, config: UnlearnConfig, way: Way, name: str, more: int
) -> None:
    greater = dataclasses.replace(work, **{name: getattr(work, name) + more})
    before, after = (memory_of(llama(), w, config, way).peak for w in (work, greater))
    assert after >= before * (1 - 1e-12)


@given(
    WORKS, CONFIGS, WAYS, NUMBERS,
    st.sampled_from(["vocab_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "head_dim"]),
)  # fmt: skip
def test_a_larger_model_never_takes_less(work: Workload, config: UnlearnConfig, way: Way, more: int, name: str) -> None:
    fields = {
        "vocab_size": 10,
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "head_dim": 4,
    }
    before, after = (
        memory_of(llama(**f), work, config, way).peak for f in (fields, fields | {name: fields[name] + more})
    )
    assert after >= before * (1 - 1e-12)


@given(WORKS, CONFIGS, WAYS)
def test_checkpointing_never_takes_more_than_the_layers_it_spares(
    work: Workload, config: UnlearnConfig, way: Way
) -> None:
    with_it, without = (
        memory_of(llama(num_hidden_layers=8), work, config, dataclasses.replace(way, checkpointing=c)).peak
        for c in (True, False)
    )
    assert with_it <= without
