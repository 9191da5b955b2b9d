"""Sizes of a causal model from its config.json: parameters counted exactly, matrix by matrix."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expunge import hub
from expunge.errors import InputError
from expunge.files import exists, read_text


@dataclass(frozen=True, slots=True)
class Matrix:
    """A linear layer, called `name` inside its layer: `inputs` × `outputs` weights, and perhaps `outputs` biases."""

    name: str
    inputs: int
    outputs: int
    bias: bool = False

    @property
    def weights(self) -> int:
        return self.inputs * self.outputs


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of a causal model.

    kind: `model_type`. stem: what all layers' names begin with. queries, keys: widths of all query heads and of all
    key heads together. inner: width inside the MLP. matrices: of one layer. vectors: parameters of one layer's norms.
    ends: of the last norm. positions: of learnt position embeddings. gated: whether the MLP multiplies two branches.
    head_norm: whether queries and keys are normed. dtype: of the weights as stored.
    """

    kind: str
    stem: str
    vocabulary: int
    hidden: int
    layers: int
    heads: int
    queries: int
    keys: int
    inner: int
    matrices: tuple[Matrix, ...]
    vectors: int
    ends: int
    positions: int
    tied: bool
    gated: bool
    head_norm: bool
    dtype: str

    @property
    def table(self) -> int:
        """Parameters of the embeddings; of the output layer too."""
        return self.vocabulary * self.hidden

    @property
    def linear(self) -> int:
        """Weights of all layers' matrices, which every token is multiplied with."""
        return self.layers * sum(m.weights for m in self.matrices)

    @property
    def parameters(self) -> int:
        """All of them."""
        biases = sum(m.outputs for m in self.matrices if m.bias)
        tables = self.table * (1 if self.tied else 2)
        return self.linear + self.layers * (biases + self.vectors) + self.ends + self.positions + tables

    def trained(self, modules: str = "matrices") -> int:
        """What full training changes: all weight matrices but embeddings and output layer, those that an expression
        names, or all."""
        return self.parameters if modules == "all" else sum(m.weights for m in self._named(modules, ".weight"))

    def adapter(self, rank: int, modules: str = "matrices") -> int:
        """Parameters of a LoRA adapter on every linear layer but the output layer, or on those that are named."""
        return sum(rank * (m.inputs + m.outputs) for m in self._named(modules))

    def _named(self, modules: str, end: str = "") -> list[Matrix]:
        """Of all layers' matrices those that an expression names; all of them where it names others, which are small
        or not known here."""
        every = [(f"{self.stem}.{i}.{m.name}{end}", m) for i in range(self.layers) for m in self.matrices]
        return [m for name, m in every if re.search(modules, name)] or [m for _, m in every]


@dataclass(frozen=True, slots=True)
class _Config:
    """The fields of a config.json."""

    values: Mapping[str, Any]
    file: Path

    def number(self, name: str, default: int | None = None) -> int:
        """A positive whole number."""
        value = self.values.get(name)
        value = default if value is None else value
        if value is None:
            raise self.fault(f"{name!r} is missing")
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise self.fault(f"{name!r} must be a positive whole number")
        return value

    def flag(self, name: str, default: bool) -> bool:
        return bool(self.values.get(name, default))

    def fault(self, message: str) -> InputError:
        return InputError(
            message, file=self.file, remedy="Give the config.json of a causal model as transformers wrote it."
        )


def read_sizes(model: str) -> Sizes:
    """Sizes of a model by hub name, folder or built-in name. Of a hub model only config.json is fetched.

    Raises:
        InputError: no such model, an architecture that is not known here, or a config.json that lacks a field.
    """
    file = _config_file(model)
    try:
        values = json.loads(read_text(file))
    except ValueError:
        raise InputError("not valid JSON", file=file) from None
    if not isinstance(values, dict):
        raise InputError("not a JSON object", file=file)
    return sizes_of(values, file)


def sizes_of(values: Mapping[str, Any], file: Path) -> Sizes:
    """Sizes from the fields of a config.json; `file` is what an error calls it.

    Raises:
        InputError: see `read_sizes`.
    """
    config = _Config(values, file)
    kind = values.get("model_type")
    if kind is None:
        raise config.fault("'model_type' is missing")
    if not isinstance(kind, str) or kind not in ARCHITECTURES:
        known = f"Known: {', '.join(ARCHITECTURES)}."
        raise InputError(f"'model_type' is {kind!r}, an architecture that cannot be planned", file=file, remedy=known)
    return ARCHITECTURES[kind](config, kind)


def _config_file(model: str) -> Path:
    folder = Path(model)
    if not exists(folder) and "/" not in model:
        from expunge.model import resolve  # imports torch, which other names are spared

        folder = Path(resolve(model))
    if exists(folder):
        if exists(folder / "config.json"):
            return folder / "config.json"
        remedy = "Give a folder with config.json; of an adapter, that of its base model."
        raise InputError("there is no config.json in this folder", file=folder, remedy=remedy)
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    hub.ready(model)
    try:
        return Path(hf_hub_download(model, "config.json"))
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        remedy = "Give the name of a causal model on the Hugging Face hub, or a folder with config.json."
        told = hub.lack(model) or str(error).strip().split("\n")[0][:200]
        raise InputError(f"cannot read the config of the model {model!r}: {told}", remedy=remedy) from None


def _llama(config: _Config, kind: str) -> Sizes:
    """Llama and its like: RMS norms, rotary positions, a gated MLP."""
    hidden, heads, inner = (config.number(n) for n in ("hidden_size", "num_attention_heads", "intermediate_size"))
    shared = heads if kind == "llama" else None
    width = config.number("head_dim", None if kind == "qwen3" else hidden // heads)
    queries, keys = heads * width, config.number("num_key_value_heads", shared) * width
    free = config.flag("attention_bias", False) and kind in ("llama", "qwen3")
    inside = free or kind == "qwen2"
    after = config.flag("mlp_bias", False) and kind == "llama"
    return Sizes(
        kind=kind,
        stem="model.layers",
        vocabulary=config.number("vocab_size"),
        hidden=hidden,
        layers=config.number("num_hidden_layers"),
        heads=heads,
        queries=queries,
        keys=keys,
        inner=inner,
        matrices=(
            Matrix("self_attn.q_proj", hidden, queries, inside), Matrix("self_attn.k_proj", hidden, keys, inside),
            Matrix("self_attn.v_proj", hidden, keys, inside), Matrix("self_attn.o_proj", queries, hidden, free),
            Matrix("mlp.gate_proj", hidden, inner, after), Matrix("mlp.up_proj", hidden, inner, after),
            Matrix("mlp.down_proj", inner, hidden, after),
        ),
        vectors=2 * hidden + (2 * width if kind == "qwen3" else 0),
        ends=hidden,
        positions=0,
        tied=config.flag("tie_word_embeddings", False),
        gated=True,
        head_norm=kind == "qwen3",
        dtype=_dtype(config),
    )  # fmt: skip


def _gpt(config: _Config, kind: str) -> Sizes:
    """GPT-2 and GPT-NeoX: layer norms with biases, queries, keys and values in one matrix, a plain MLP."""
    old = kind == "gpt2"
    fields = ("n_embd", "n_layer", "n_head") if old else ("hidden_size", "num_hidden_layers", "num_attention_heads")
    hidden, layers, heads = (config.number(name) for name in fields)
    names = ("attention.query_key_value", "attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h")
    if old:
        names = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    inner = config.number("n_inner", 4 * hidden) if old else config.number("intermediate_size")
    free = old or config.flag("attention_bias", True)
    return Sizes(
        kind=kind,
        stem="transformer.h" if old else "gpt_neox.layers",
        vocabulary=config.number("vocab_size"),
        hidden=hidden,
        layers=layers,
        heads=heads,
        queries=hidden,
        keys=hidden,
        inner=inner,
        matrices=(
            Matrix(names[0], hidden, 3 * hidden, free), Matrix(names[1], hidden, hidden, free),
            Matrix(names[2], hidden, inner, True), Matrix(names[3], inner, hidden, True),
        ),
        vectors=4 * hidden,
        ends=2 * hidden,
        positions=hidden * config.number("n_positions") if old else 0,
        tied=config.flag("tie_word_embeddings", old),
        gated=False,
        head_norm=False,
        dtype=_dtype(config),
    )  # fmt: skip


ARCHITECTURES: Mapping[str, Callable[[_Config, str], Sizes]] = {
    "llama": _llama, "mistral": _llama, "qwen2": _llama, "qwen3": _llama, "gpt2": _gpt, "gpt_neox": _gpt,
}  # fmt: skip


def _dtype(config: _Config) -> str:
    return str(config.values.get("dtype") or config.values.get("torch_dtype") or "float32")
