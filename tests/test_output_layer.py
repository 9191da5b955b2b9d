"""The output layer by itself; that it gives what the whole model gives, in every architecture, see test_packing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from expunge.errors import InputError
from expunge.output_layer import OutputLayer
from test_packing import model_of

LAST = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))


def test_the_original_stays_as_it_was() -> None:
    model = model_of("llama").requires_grad_(False)
    untrained = OutputLayer(model)
    assert untrained.frozen() is untrained and not untrained.trained, "nothing is copied in vain"
    model.lm_head.requires_grad_(True)
    layer = OutputLayer(model)
    frozen, before = layer.frozen(), layer(LAST)
    with torch.no_grad():
        model.lm_head.weight += 1
    assert layer.trained and not frozen.trained
    torch.testing.assert_close(frozen(LAST), before)
    assert float((layer(LAST) - before).detach().abs().max()) > 1e-3, "the same weights as the model's"


def test_it_reads_in_the_precision_of_its_weights() -> None:
    assert OutputLayer(model_of("llama").bfloat16())(LAST).dtype == torch.bfloat16


def test_it_is_not_called_through_a_cover_of_the_whole_model() -> None:
    """As accelerate covers `forward` to cast."""
    model = model_of("llama")
    wanted = OutputLayer(model)(LAST)
    model.forward = None
    torch.testing.assert_close(OutputLayer(model)(LAST), wanted)


def test_hooks_of_a_forward_do_not_run_for_it() -> None:
    """Where weights are shared out, hooks put them together and apart again."""
    model, run = model_of("llama"), list[str]()
    wanted = OutputLayer(model)(LAST)
    for module in (model, model.lm_head):
        module.register_forward_pre_hook(lambda *_: run.append("before"))
        module.register_forward_hook(lambda *_: run.append("after"))
    torch.testing.assert_close(OutputLayer(model)(LAST), wanted)
    assert not run
    model(input_ids=torch.tensor([[1]]))
    assert len(run) == 4, "the model's own are as they were"


SMALL = {
    "vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "pad_token_id": 0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("llama4_text", {"intermediate_size_mlp": 48, "head_dim": 8, "num_local_experts": 2}),  # another prefix
        ("falcon_h1", {"lm_head_multiplier": 3.0}),  # a number of the layers that only logits need
    ],
)
def test_architectures_that_keep_their_layers_otherwise(kind: str, more: dict[str, Any]) -> None:
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **SMALL, **more)
    model = transformers.AutoModelForCausalLM.from_config(config).float().eval()
    ids, caught = torch.tensor([[5, 6, 7, 8]]), list[torch.Tensor]()
    model.lm_head.register_forward_pre_hook(lambda _, given: caught.append(given[0]))
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits[0]
        torch.testing.assert_close(OutputLayer(model)(caught[0][0]), logits)


def test_an_architecture_that_keeps_nothing_apart_is_refused() -> None:
    model = model_of("llama")
    model.get_input_embeddings = lambda: None
    with pytest.raises(InputError, match="LlamaForCausalLM does not keep its layers apart"):
        OutputLayer(model)
