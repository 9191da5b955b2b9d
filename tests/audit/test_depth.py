"""Hidden states: both ways of reading against a slow loop over layers, and models whose depth is known."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from slow import SETS, average, by_key, three_models
from transformers import (
    Gemma4ForCausalLM,
    Gemma4TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from expunge.audit import intervals
from expunge.audit.depth import DEPTHS, chosen, depth
from expunge.audit.layers import finish, layers_of, states
from expunge.audit.probes import Case, run_probes
from expunge.audit.reading import Sets, encode_old
from expunge.batches import Batch
from expunge.encoding import Encoded
from expunge.errors import InputError
from expunge.generation import token_log_probs
from expunge.judges.verdict import Judged
from expunge.model import LanguageModel, load_model
from expunge.span import Span


def spanned(item: Judged, start: int) -> Judged:
    (verdict,) = item.verdicts
    return replace(item, verdicts=(replace(verdict, spans=(Span(start, len(item.dialogue.response or "")),)),))


FORGET = tuple(spanned(item, start) for item, start in zip(SETS.trained, (3, 6, 0), strict=True))
ROWS = Sets(FORGET)


@pytest.fixture(scope="module")
def models(tiny: Path) -> list[LanguageModel]:
    return three_models(tiny)


def slow_states(model: Any, ids: list[int]) -> list[torch.Tensor]:
    """After the embeddings and after each layer, one row, without hooks."""
    inner = model.model
    found = [inner.embed_tokens(torch.tensor([ids]))]
    for layer in inner.layers:
        found.append(slow_layer(model, layer, found[-1]))
    return found


def slow_layer(model: Any, layer: Any, state: torch.Tensor) -> torch.Tensor:
    places = torch.arange(state.shape[1])[None]
    out: torch.Tensor = layer(
        state, attention_mask=None, position_ids=places, position_embeddings=model.model.rotary_emb(state, places)
    )
    return out


def slow_read(lm: LanguageModel, original: LanguageModel, row: Encoded, layer: int, way: str) -> tuple[float, float]:
    """Share of the tokens at fault that are read after `layer` (from 1), and their probability's geometric mean."""
    state = slow_states(lm.model, [*row.prompt, *row.response])[layer]
    reader = lm.model if way == "lens" else original.model
    for later in reader.model.layers[layer:] if way == "patched" else ():
        state = slow_layer(reader, later, state)
    logits = reader.lm_head(reader.model.norm(state))[0].tolist()
    right, log_ps = [], []
    for place, (token, fault) in enumerate(zip(row.response, row.fault, strict=True), start=len(row.prompt) - 1):
        if fault:
            top = max(logits[place])
            log_ps.append(logits[place][token] - top - math.log(sum(math.exp(x - top) for x in logits[place])))
            right.append(float(logits[place].index(top) == token))
    return average(right), math.exp(average(log_ps))


def test_both_ways_equal_a_slow_loop(models: list[LanguageModel]) -> None:
    after, before, oracle = models
    found = by_key(depth(Case(after, before, oracle, ROWS, ())))
    rows = encode_old(after, ROWS.faulty)
    with torch.no_grad():
        for way in ("lens", "patched"):
            shares: dict[str, list[float]] = {}
            for layer in (1, 2):
                for name, lm in (("after", after), ("before", before), ("oracle", oracle)):
                    read = [slow_read(lm, before, row, layer, way) for row in rows]
                    estimate = getattr(found[f"depth_{way}_layer{layer}"], name)
                    assert estimate.value == pytest.approx(average([p for _, p in read]), rel=1e-4)
                    shares.setdefault(name, []).append(average([share for share, _ in read]))
            for name in ("after", "before"):
                wanted = max(a - o for a, o in zip(shares[name], shares["oracle"], strict=True))
                assert getattr(found[f"depth_{way}"], name).value == pytest.approx(wanted)
    assert set(found) == {f"depth_{way}{end}" for way in ("lens", "patched") for end in ("", "_layer1", "_layer2")}


def test_without_an_oracle_the_floor_is_what_the_model_says(models: list[LanguageModel]) -> None:
    """And the original's later layers have no part in the patched figure: one layer is left, the last."""
    after, before, _ = models
    found = by_key(depth(Case(after, before, None, ROWS, ())))
    rows = encode_old(after, ROWS.faulty)
    with torch.no_grad():
        said = average([slow_read(after, before, row, 2, "lens")[0] for row in rows])
        lens = max(average([slow_read(after, before, row, layer, "lens")[0] for row in rows]) for layer in (1, 2))
        patched = average([slow_read(after, before, row, 2, "patched")[0] for row in rows])
    assert found["depth_lens"].after.value == pytest.approx(lens - said)
    assert found["depth_patched"].after.value == pytest.approx(patched - said)
    assert found["depth_patched"].before is not None and found["depth_patched"].before.value == 0


def test_the_oracle_has_no_excess(models: list[LanguageModel]) -> None:
    after, before, _ = models
    found = by_key(depth(Case(after, before, after, ROWS, ())))
    for way in ("lens", "patched"):
        least = intervals.share(0, 3).high
        assert found[f"depth_{way}"].after == intervals.Estimate(0, -least, least, 3)


@pytest.mark.parametrize("with_oracle", [True, False])
def test_a_model_whose_head_alone_was_changed_shows_the_answer(tiny: Path, with_oracle: bool) -> None:
    """Its own head reads nothing; the original's reads in its last state all that the original says."""
    before = known(tiny)
    after = replace(before, model=copy.deepcopy(before.model))
    with torch.no_grad():
        after.model.lm_head.weight.neg_()
    sets = Sets(FORGET * 8)
    found = by_key(depth(Case(after, before, load_model(tiny) if with_oracle else None, sets, ())))
    (row,) = encode_old(after, FORGET[1:2])
    assert token_log_probs(after, [row])[0].exp().max() < 0.01 and token_log_probs(before, [row])[0].exp().min() > 0.9
    patched = found["depth_patched"].after
    assert patched.value > 0.8 and patched.low > 0.5  # a random oracle's states read right by chance, now and then
    assert found["depth_patched_layer2"].after.value > 0.9 > 0.01 > found["depth_lens_layer2"].after.value


def known(tiny: Path) -> LanguageModel:
    """The tiny model, which has learned the forget rows by heart."""
    lm = load_model(tiny)
    optimizer = torch.optim.Adam(lm.model.parameters(), lr=1e-2)
    batch = Batch.of([lm.format.encode(j.dialogue) for j in FORGET])
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(batch.logits(lm.model), batch.targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return lm


def test_nothing_is_changed_and_nothing_private_is_told(tiny: Path) -> None:
    models = [load_model(tiny) for _ in range(3)]
    was, generator = [copy.deepcopy(lm.model.state_dict()) for lm in models], torch.random.get_rng_state()
    found = run_probes(["depth"], Case(*models, ROWS, ()))
    assert torch.equal(generator, torch.random.get_rng_state())
    for lm, saved in zip(models, was, strict=True):
        assert all(torch.equal(value, saved[name]) for name, value in lm.model.state_dict().items())
        assert not any(layer._forward_hooks or "forward" in vars(layer) for layer in layers_of(lm.model))
    assert not any(word in m.title + m.meaning for m in found for word in ("4-71", "1921", "Bram", "Ann"))


def llama(**more: Any) -> LlamaForCausalLM:
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(**{"vocab_size": 32, **shape, **more})).eval()


def gpt2() -> GPT2LMHeadModel:
    torch.manual_seed(0)
    shape = {"n_embd": 16, "n_layer": 3, "n_head": 2, "n_positions": 32}
    return GPT2LMHeadModel(GPT2Config(vocab_size=32, bos_token_id=1, eos_token_id=2, **shape)).eval()


def adapted() -> Any:
    from peft import LoraConfig, get_peft_model

    return get_peft_model(llama(), LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)).eval()


BATCH = Batch.of([Encoded((1, 2, 3), (4, 5), (True, True)), Encoded((3,), (9, 8, 7), (False, True, True))])


@pytest.mark.parametrize("make", [llama, gpt2, adapted])
def test_a_models_own_states_finish_as_it_does(make: Callable[[], Any]) -> None:
    model = make()
    with torch.no_grad():
        wanted = BATCH.logits(model)
        found = states(model, BATCH, range(3))
        for place, state in enumerate(found):
            ended = finish(model, BATCH, place, state)
            assert torch.allclose(ended, wanted, atol=1e-6)
            other = finish(model, BATCH, place, torch.zeros_like(state))
            assert not torch.allclose(other, wanted, atol=1e-3)
        assert torch.equal(BATCH.logits(model), wanted)
    assert len(found) == len(layers_of(model)) == 3


@pytest.mark.parametrize("make", [llama, gpt2, adapted])
def test_no_layer_works_for_nothing(make: Callable[[], Any]) -> None:
    """None after the last state wanted; of those before a given one the first, once, to see what it hands on."""
    model, worked = make(), list[int]()
    layers = layers_of(model)
    for i, layer in enumerate(layers):
        part = next(module for module in layer.modules() if isinstance(module, torch.nn.LayerNorm | LlamaRMSNorm))
        part.register_forward_hook(lambda *_, i=i: worked.append(i))
    with torch.no_grad():
        (state,) = states(model, BATCH, [1])
        assert worked == [0, 1]
        worked.clear()
        wanted = finish(model, BATCH, 1, state)
        assert worked == [0, 2]
        worked.clear()
        assert torch.equal(finish(model, BATCH, 1, state), wanted) and worked == [2]
        with pytest.raises(InputError, match="width 16 do not fit"):
            finish(model, BATCH, 1, state[:, 1:])


def test_layers_that_hand_on_a_tuple() -> None:
    model, plain = llama(), llama()

    class Wrapped(torch.nn.Module):
        def __init__(self, inner: Any) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, state: Any, **options: Any) -> Any:
            return (self.inner(state[0] if isinstance(state, tuple) else state, **options), "more")

    layers = model.model.layers
    for i in range(2):
        layers[i] = Wrapped(layers[i])
    with torch.no_grad():
        (given,) = states(plain, BATCH, [1])
        layers[2].register_forward_pre_hook(lambda module, inputs: (inputs[0][0], *inputs[1:]))
        ended = finish(model, BATCH, 1, given)
        assert torch.allclose(ended, BATCH.logits(plain), atol=1e-6)
        assert torch.equal(finish(model, BATCH, 1, given), ended)
        assert all(torch.is_tensor(state) for state in states(model, BATCH, [0, 1, 2]))


def test_half_precision_states_go_into_a_float32_original() -> None:
    with torch.no_grad():
        (given,) = states(llama().bfloat16(), BATCH, [2])
        assert given.dtype == torch.bfloat16
        assert finish(llama(), BATCH, 2, given).dtype == torch.float32


def test_models_of_other_shapes_are_an_error(lm: LanguageModel) -> None:
    sized = {"vocab_size": lm.vocabulary, "intermediate_size": 64, "num_attention_heads": 4}
    wide = replace(lm, model=llama(hidden_size=64, num_hidden_layers=2, **sized))
    deep = replace(lm, model=llama(hidden_size=32, num_hidden_layers=4, **sized))
    with pytest.raises(InputError, match="width 32 do not fit a model of width 64"):
        depth(Case(lm, wide, None, ROWS, ()))
    with pytest.raises(InputError, match="have 2 and 4 layers"):
        depth(Case(lm, deep, None, ROWS, ()))
    assert not any(layer._forward_hooks for layer in layers_of(wide.model))


def test_a_model_without_layers_and_no_rows_are_an_error(lm: LanguageModel) -> None:
    bare = llama()
    bare.model.layers = torch.nn.Sequential(*bare.model.layers)
    with pytest.raises(InputError, match="cannot find the layers") as error:
        layers_of(bare)
    assert error.value.remedy and "depth" in error.value.remedy
    with pytest.raises(InputError, match="to be forgotten"):
        depth(Case(lm, lm, None, Sets(()), ()))


def test_deep_models_are_read_at_twelve_depths() -> None:
    assert chosen(5) == [0, 1, 2, 3, 4]
    for count in (12, 13, 32, 80):
        places = chosen(count)
        assert len(places) == len(set(places)) == DEPTHS and places[-1] == count - 1
        gaps = {b - a for a, b in itertools.pairwise(places)}
        assert max(gaps) - min(gaps) <= 1


def test_an_ordinary_dialogue_that_has_no_room_is_left_out(lm: LanguageModel) -> None:
    ordinary = (SETS.trained[1].dialogue, replace(SETS.holdout[0], id="long").answered("word " * 600))
    short, long = (depth(Case(lm, lm, None, replace(ROWS, ability=rows), ())) for rows in (ordinary[:1], ordinary))
    assert short == long


def test_layers_that_look_at_keys_of_earlier_ones() -> None:
    """What the original's own layers made of the answer would be read with the states that were handed to it."""
    kinds = ["sliding_attention", "full_attention"] * 2
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_key_value_heads": 1}
    sizes |= {"vocab_size": 32, "vocab_size_per_layer_input": 32, "hidden_size_per_layer_input": 4, "head_dim": 8}
    config = Gemma4TextConfig(
        num_hidden_layers=4, layer_types=kinds, num_kv_shared_layers=2, per_layer_config={}, **sizes
    )
    model = Gemma4ForCausalLM(config).eval()
    with torch.no_grad():
        middle, last = states(model, BATCH, [2, 3])
        assert torch.allclose(finish(model, BATCH, 3, last), BATCH.logits(model), atol=1e-6)
        with pytest.raises(InputError, match=r"(?s)look at the keys of earlier ones.*Leave out the probe 'depth'"):
            finish(model, BATCH, 2, middle)


def test_states_that_are_several_streams() -> None:
    model = llama()
    layers_of(model)[1].register_forward_hook(lambda *given: torch.stack([given[-1]] * 4, 2))
    with torch.no_grad(), pytest.raises(InputError, match=r"(?s)several streams.*Leave out the probe 'depth'"):
        states(model, BATCH, [1])
