"""What bitsandbytes makes of a model: with a stand-in where it may be missing, and as it is where it is installed."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from test_quantization import NUMBER, SETS, as_lm, small, state, unchanged
from transformers import GPT2Config, GPT2LMHeadModel

from expunge.audit import quantization
from expunge.audit.bnb import DEVICES, int8, nf4
from expunge.audit.probes import Case, run_probes
from expunge.audit.reading import Sets
from expunge.errors import InputError
from expunge.four_bits import installed
from expunge.model import load_model

ALL = ["quantized8", "quantized4", "quantized_int8", "quantized_nf4"]


class Layer(torch.nn.Linear):
    """Stands in for a layer of 8 bits; keeps what it was made with."""

    def __init__(self, inputs: int, outputs: int, bias: bool, device: str, **options: Any) -> None:
        super().__init__(inputs, outputs, bias, device=device)
        self.options = options


def parameter(weight: torch.Tensor, requires_grad: bool, has_fp16_weights: bool) -> torch.nn.Parameter:
    assert weight.device.type == "cpu" and not has_fp16_weights, "it is rounded on its way from the CPU"
    return torch.nn.Parameter(weight.sign(), requires_grad=requires_grad)


def to_codes(weight: torch.Tensor, blocksize: int, quant_type: str) -> tuple[torch.Tensor, str]:
    assert weight.shape[1] == 64 and weight.is_contiguous() and (blocksize, quant_type) == (64, "nf4")
    return weight, "scales"


def version(monkeypatch: pytest.MonkeyPatch, number: str | None) -> None:
    known = importlib.metadata.version

    def found(name: str) -> str:
        if name != "bitsandbytes":
            return known(name)
        if number is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return number

    monkeypatch.setattr(importlib.metadata, "version", found)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    nn = SimpleNamespace(Linear8bitLt=Layer, Int8Params=parameter)
    functional = SimpleNamespace(quantize_4bit=to_codes, dequantize_4bit=lambda codes, scales: codes.sign())
    monkeypatch.setitem(sys.modules, "bitsandbytes", SimpleNamespace(nn=nn, functional=functional))


@pytest.mark.parametrize(
    ("number", "used"),
    [
        (None, False),
        ("0.45.5", False),
        ("0.50.0", True),
        ("0.50rc1", True),
        ("0.51.0.dev0", True),
        ("1.0.0", True),
        ("1", True),
    ],
)
def test_without_it_the_probe_does_what_it_did(monkeypatch: pytest.MonkeyPatch, number: str | None, used: bool) -> None:
    version(monkeypatch, number)
    assert installed() is used
    assert [f.key for f in quantization.roundings(as_lm(small()))] == ([*ALL[:2], "quantized_nf4"] if used else ALL[:2])


def test_other_devices_have_no_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    version(monkeypatch, "0.50.2")
    assert [f.key for f in quantization.roundings(as_lm(small().to("meta")))] == ALL[:2]


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("change", [int8, nf4])
def test_linear_layers_are_rounded_and_embeddings_and_output_are_not(change: Any) -> None:
    model = small()
    was = {name: value.clone() for name, value in model.state_dict().items()}
    changed = change(as_lm(model)).model
    assert all(torch.equal(value, was[name]) for name, value in model.state_dict().items())
    for name, value in changed.state_dict().items():
        assert torch.equal(value, was[name].sign() if "proj" in name else was[name]), name
    layers = [layer for layer in changed.modules() if isinstance(layer, Layer)]
    assert len(layers) == (2 * 7 if change is int8 else 0)
    assert all(layer.options == {"has_fp16_weights": False, "threshold": 6.0} for layer in layers)
    assert not any(module.training for module in changed.modules())


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("change", [int8, nf4])
def test_layers_that_keep_their_outputs_in_columns_are_rounded_by_output(change: Any) -> None:
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=32, n_embd=16, n_layer=1, n_head=2, n_positions=32))
    layer = model.transformer.h[0].mlp.c_fc
    layer.bias.data.normal_()
    found = change(as_lm(model)).model.transformer.h[0].mlp.c_fc
    weight = found.weight if change is int8 else found.weight.T
    assert torch.equal(weight, layer.weight.T.sign()) and torch.equal(found.bias, layer.bias)


@pytest.mark.usefixtures("stand_in")
def test_a_layer_in_two_places_is_made_once() -> None:
    model = small()
    first, second = (layer.mlp for layer in model.model.layers)
    second.up_proj = first.up_proj
    found = [layer.mlp.up_proj for layer in int8(as_lm(model)).model.model.layers]
    assert found[0] is found[1] and isinstance(found[0], Layer)


@pytest.mark.usefixtures("stand_in")
def test_a_model_without_linear_layers_is_an_error() -> None:
    class Bare(torch.nn.Module):
        def get_input_embeddings(self) -> None: ...
        def get_output_embeddings(self) -> None: ...

    with pytest.raises(InputError, match="no linear layers"):
        nf4(as_lm(Bare()))


def test_nf4_as_it_is() -> None:
    """16 levels (arXiv 2305.14314, appendix E) times the largest of each 64 weights; the nearest is taken."""
    pytest.importorskip("bitsandbytes")
    levels = torch.tensor(
        [-1.0, -0.6961928, -0.52507305, -0.39491749, -0.28444138, -0.18477343, -0.09105004, 0.0, 0.0795803, 0.1609302,
         0.2461123, 0.33791524, 0.44070983, 0.562617, 0.72295684, 1.0]
    )  # fmt: skip
    model = small(intermediate_size=41)
    weight = model.model.layers[0].mlp.up_proj.weight.detach()
    found = nf4(as_lm(model)).model.model.layers[0].mlp.up_proj.weight
    for old, new in zip(weight.flatten().split(64), found.flatten().split(64), strict=True):
        scale = old.abs().max()
        assert torch.allclose(new, scale * levels[(old.unsqueeze(1) / scale - levels).abs().argmin(1)], atol=1e-7)


def test_int8_as_it_is() -> None:
    """Weights by row, and inputs by row, in steps of a 127th of the largest: by at most half a step is each wrong."""
    pytest.importorskip("bitsandbytes")
    model = small()
    weight = model.model.layers[0].mlp.up_proj.weight.detach()
    layer = int8(as_lm(model)).model.model.layers[0].mlp.up_proj
    x = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
    of_w, of_x = weight.abs().amax(1) / 254, x.abs().amax(1, keepdim=True) / 254
    bound = of_x * weight.abs().sum(1) + of_w * x.abs().sum(1, keepdim=True) + 16 * of_x * of_w
    found = layer(x)
    assert bool(((found - x @ weight.T).abs() <= bound + 2e-3 * (x.abs() @ weight.abs().T)).all()), "and half precision"
    assert not torch.allclose(found, x @ weight.T, atol=1e-4)


def test_the_probe_as_it_is(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both formats, though on a CPU one is left out for its slowness alone."""
    pytest.importorskip("bitsandbytes")
    monkeypatch.setitem(DEVICES, "int8", ("cpu",))
    models = [load_model(tiny) for _ in range(3)]
    was, generator = [state(lm) for lm in models], torch.random.get_rng_state()
    found = {m.key: m for m in run_probes(["quantization"], Case(*models, SETS, ()))}
    assert torch.equal(generator, torch.random.get_rng_state())
    assert all(unchanged(lm, w) for lm, w in zip(models, was, strict=True))
    kinds = ("trained", "trained_leak", "unseen", "unseen_leak", "fault_probability")
    assert list(found) == [f"{key}_{kind}" for key in ALL for kind in kinds]
    assert found["quantized_nf4_trained"].title == "Rounded to 4 bits (NF4), trained phrasing"
    values = [found[f"{key}_fault_probability"] for key in ALL]
    assert all(m.after == m.before == m.oracle for m in values) and len({m.after.value for m in values}) == 4
    assert quantization.quantization(Case(models[0], models[1], None, Sets((NUMBER,)), ()))[-1].oracle is None
