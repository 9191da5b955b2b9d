"""What is computed once and kept in a mapped file: whole or not at all, found again, and for its owner alone."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import OPTConfig, OPTForCausalLM

from expunge.batches import forward_rows
from expunge.errors import InputError, OutputError
from expunge.expected import with_expected
from expunge.model import load_model
from expunge.selection import Split
from expunge.training.config import UnlearnConfig
from expunge.training.kept import kept
from expunge.training.loss import Loss, kept_layers
from expunge.training.material import Material
from expunge.training.reference import Reference

PIECES = [torch.arange(6.0).view(2, 3).t(), torch.tensor([7.0], dtype=torch.float64), torch.empty(0)]
WANTED = [0.0, 3.0, 1.0, 4.0, 2.0, 5.0, 7.0]


def never() -> Iterator[torch.Tensor]:
    raise AssertionError("it is there already")


def test_it_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "numbers.f32"
    assert kept(path, 7, lambda: PIECES).tolist() == WANTED
    assert kept(path, 7, never).tolist() == WANTED
    assert [p.name for p in tmp_path.iterdir()] == ["numbers.f32"]
    assert path.stat().st_mode & 0o777 == 0o600, "states of dialogues are as private as these"
    assert kept(tmp_path / "nothing.f32", 0, never).tolist() == []


@settings(deadline=None)
@given(st.lists(st.lists(st.floats(width=32, allow_nan=False), max_size=5), max_size=6))
def test_numbers_come_back_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, rows: list[list[float]]) -> None:
    path = tmp_path_factory.mktemp("kept") / "numbers.f32"
    flat = [x for row in rows for x in row]
    found = kept(path, len(flat), lambda: map(torch.tensor, rows))
    assert torch.equal(found, torch.tensor(flat))


def test_what_was_cut_short_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "numbers.f32"

    def dies() -> Iterator[torch.Tensor]:
        yield PIECES[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kept(path, 7, dies)
    assert not path.exists()
    assert kept(path, 7, lambda: PIECES).tolist() == WANTED
    os.truncate(path, 8)
    assert kept(path, 7, lambda: PIECES).tolist() == WANTED


def test_too_few_numbers_are_a_fault_of_ours(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="28 bytes were made, and not 32"):
        kept(tmp_path / "numbers.f32", 8, lambda: PIECES)
    assert not (tmp_path / "numbers.f32").exists()


def test_an_output_layer_that_reads_less_than_the_layers_are_wide(tiny: Path, parts: Split, tmp_path: Path) -> None:
    lm = load_model(tiny)
    shape = {"hidden_size": 16, "word_embed_proj_dim": 8, "ffn_dim": 24, "num_hidden_layers": 2}
    torch.manual_seed(0)
    config = OPTConfig(vocab_size=lm.vocabulary, num_attention_heads=2, max_position_embeddings=256, **shape)
    lm = replace(lm, model=OPTForCausalLM(config).eval())
    rows = {"normal": [lm.format.encode(d) for d in parts.normal]}
    needs: Any = {"normal": {"vocabulary"}}
    found, asked = (
        Reference(lm, rows, needs, tmp_path, kept_bytes=limit).recall(lm.model, "normal", rows["normal"])
        for limit in (2**30, 0)
    )
    for one, other in zip(found, asked, strict=True):
        torch.testing.assert_close(one.last, other.last)
    with pytest.raises(InputError, match="no common width.*\n.*hidden_weight = 0"):
        kept_layers(lm.model)
    assert kept_layers(load_model(tiny).model)[1] == lm.model.config.num_hidden_layers


def test_a_copy_that_is_asked_stays_where_the_training_began(tiny: Path, parts: Split, tmp_path: Path) -> None:
    lm = load_model(tiny)
    rows = [lm.format.encode(d) for d in parts.normal[:3]]
    reference = Reference(lm, {"normal": rows}, {"normal": {"targets", "vocabulary"}}, tmp_path, kept_bytes=0)
    first = reference.recall(lm.model, "normal", rows)
    with torch.no_grad():
        for weight in lm.model.parameters():
            weight.mul_(1.5)
    for was, now in zip(first, reference.recall(lm.model, "normal", rows), strict=True):
        assert torch.equal(was.targets, now.targets) and torch.equal(was.last, now.last)  # type: ignore[arg-type]


def test_on_a_cpu_nothing_is_computed_in_half_precision(tiny: Path, parts: Split, tmp_path: Path) -> None:
    lm = replace(load_model(tiny), stored_dtype=torch.bfloat16)
    parts = replace(parts, forget=with_expected(lm, parts.forget))
    assert not Loss(lm, Material.of(lm.format, parts), UnlearnConfig(terms=("distance",)), tmp_path)._half


def test_a_full_disk_is_one_message(tmp_path: Path) -> None:
    def full() -> Iterator[torch.Tensor]:
        yield PIECES[0]
        raise OSError(errno.ENOSPC, "No space left on device")

    for count, needed in ((2**30, "4.0 GiB"), (2**20, "4.0 MiB"), (3, "12 bytes")):
        with pytest.raises(OutputError, match=r"No space left on device: [0-9.,]+ (GiB|MiB|KiB|bytes) free") as error:
            kept(tmp_path / "numbers.f32", count, full)
        assert f"{needed}: make room" in str(error.value)
    assert not list(tmp_path.iterdir())
    no_room = patch.object(Path, "touch", side_effect=OSError(errno.ENOSPC, "No space left on device"))
    with no_room, pytest.raises(OutputError, match="No space left on device"):
        kept(tmp_path / "numbers.f32", 7, lambda: PIECES)


def test_a_run_that_goes_on_does_not_ask_the_original_again(tiny: Path, parts: Split, tmp_path: Path) -> None:
    lm = load_model(tiny)
    rows = {"normal": [lm.format.encode(d) for d in parts.normal]}
    needs: Any = {"normal": {"states", "vocabulary"}}
    first = Reference(lm, rows, needs, tmp_path, layers=(1, 2)).recall(lm.model, "normal", rows["normal"])
    lm.model.forward = never
    again = Reference(lm, rows, needs, tmp_path, layers=(1, 2)).recall(lm.model, "normal", rows["normal"])
    for one, other in zip(first, again, strict=True):
        assert one.targets is None and torch.equal(one.last, other.last) and torch.equal(one.states, other.states)
    with pytest.raises((AssertionError, TypeError)):  # other rows, or other needs: another file
        Reference(lm, {"normal": rows["normal"][1:]}, needs, tmp_path, layers=(1, 2))


@pytest.mark.parametrize("limit", [2**30, 0], ids=["kept", "asked"])
def test_its_likeliest_tokens(limit: int, tiny: Path, parts: Split, tmp_path: Path) -> None:
    lm = load_model(tiny)
    rows = [lm.format.encode(d) for d in parts.normal]
    needs: Any = {"normal": {"top", "targets"}}
    found = Reference(lm, {"normal": rows}, needs, tmp_path, top=3, kept_bytes=limit).recall(lm.model, "normal", rows)
    with torch.no_grad():
        outputs = forward_rows(lm.model, rows, "cpu")
        for row, item, output in zip(rows, found, outputs, strict=True):
            p = lm.model.lm_head(output.last).softmax(-1)
            known, tokens = p.topk(3)
            assert item.targets is not None and item.top is not None and item.last is None
            assert item.top.shape == (len(row.response), 7) and torch.equal(item.top[:, :3].long(), tokens)
            torch.testing.assert_close(item.top[:, 3:6].exp(), known)
            torch.testing.assert_close(item.top[:, 6].exp(), 1 - known.sum(-1))


def test_the_original_computes_in_the_precision_of_the_training(tiny: Path, parts: Split, tmp_path: Path) -> None:
    lm = load_model(tiny)
    rows = [lm.format.encode(d) for d in parts.normal]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        wanted = torch.cat([output.last for output in forward_rows(lm.model, rows, "cpu")]).float()
    for limit in (2**30, 0):
        half, whole = (
            Reference(lm, {"normal": rows}, {"normal": {"vocabulary"}}, tmp_path / str(h), half=h, kept_bytes=limit)
            for h in (True, False)
        )
        found, other = (torch.cat([x.last for x in r.recall(lm.model, "normal", rows)]) for r in (half, whole))
        if not limit:
            assert torch.equal(found, wanted)
        torch.testing.assert_close(found, wanted, atol=0.02, rtol=0.02)
        assert not torch.equal(other, found)
