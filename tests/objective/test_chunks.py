"""Every term in chunks of tokens is the term of all logits at once: value, and gradients of model and output layer."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_up_said import DIRECTION, VOCABULARY, WIDTH, needed

from expunge.objective.chunks import Unsaid, in_chunks, log_p, value
from expunge.objective.said import Said
from expunge.objective.term import Kind, Term
from expunge.objective.terms import TERMS

LENGTHS = [3, 1, 4, 2]
OPTIONS = {"direction": DIRECTION}


class Layer(torch.nn.Linear):
    def __init__(self, seed: int, *, trained: bool) -> None:
        super().__init__(WIDTH, VOCABULARY, bias=False)
        torch.nn.init.normal_(self.weight, generator=torch.Generator().manual_seed(seed))
        self.requires_grad_(trained)
        self.trained = trained
        self.most = 0

    def forward(self, last: torch.Tensor) -> torch.Tensor:
        self.most = max(self.most, len(last))
        return super().forward(last)


def made_up(term: Term) -> dict[Kind, Unsaid]:
    """What the model and the original are about to say, and the rest of what the term needs."""
    generator = torch.Generator().manual_seed(3)

    def unsaid(said: Said) -> Unsaid:
        last, original = (torch.randn(sum(LENGTHS), WIDTH, generator=generator) for _ in range(2))
        kept = original if term.original == "vocabulary" else None
        return Unsaid(replace(said, logits=last[:, :0], original=None), last.requires_grad_(), kept)

    return {kind: unsaid(said) for kind, said in needed(term, LENGTHS, 0).items()}


def at_once(term: Term, kinds: dict[Kind, Unsaid], layer: Layer, original: Layer) -> torch.Tensor:
    def said(unsaid: Unsaid) -> Said:
        kept = None if unsaid.original is None else original(unsaid.original).log_softmax(-1)
        return replace(unsaid.said, logits=layer(unsaid.last), original=kept)

    return term.value({kind: said(unsaid) for kind, unsaid in kinds.items()}, OPTIONS)


@pytest.mark.parametrize("trained", [False, True], ids=["frozen", "trained"])
@pytest.mark.parametrize("term", TERMS.values(), ids=TERMS)
def test_in_chunks_as_at_once(term: Term, trained: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("expunge.objective.chunks.NUMBERS", 3 * VOCABULARY)
    kinds, original = made_up(term), Layer(1, trained=False)

    def gradients(layer: Layer, loss: torch.Tensor) -> list[torch.Tensor]:
        trainable = [unsaid.last for unsaid in kinds.values()] + [layer.weight] * trained
        found = torch.autograd.grad(2 * loss, trainable, allow_unused=True)
        return [torch.zeros(()) if g is None else g for g in found]

    whole, chunked = Layer(0, trained=trained), Layer(0, trained=trained)
    wanted = at_once(term, kinds, whole, original)
    original.most = 0
    if term.hidden:
        found = value(term, kinds, OPTIONS, chunked, original, VOCABULARY)
        assert found.item() == wanted.item() and chunked.most == 0, "it reads no logits"
        return
    found = value(term, kinds, OPTIONS, chunked, original, VOCABULARY)
    torch.testing.assert_close(found, wanted)
    for one, other in zip(gradients(chunked, found), gradients(whole, wanted), strict=True):
        torch.testing.assert_close(one, other)
    assert whole.most == sum(LENGTHS) and chunked.most == 3 >= original.most, "no more logits at once than asked for"


def test_nothing_is_differentiated_where_no_gradient_is_asked_for() -> None:
    last, targets, layer = torch.randn(4, WIDTH), torch.tensor([0, 1, 2, 3]), Layer(0, trained=False)
    with torch.no_grad():
        found = log_p(last, targets, layer, VOCABULARY)
    torch.testing.assert_close(found, layer(last).log_softmax(-1).gather(-1, targets[:, None])[:, 0])
    assert not found.requires_grad


def test_each_token_gets_the_gradient_of_its_own_value() -> None:
    """One value a token, each weighed differently behind it; chunks of 2 and 1 tokens."""
    last, layer = torch.randn(3, WIDTH, dtype=torch.float64, requires_grad=True), Layer(0, trained=False).double()
    behind = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    found = in_chunks(last, layer, lambda logits, _: logits.logsumexp(-1), 2)
    (slope,) = torch.autograd.grad((behind * found.square()).sum(), last)
    (wanted,) = torch.autograd.grad((behind * layer(last).logsumexp(-1).square()).sum(), last)
    torch.testing.assert_close(slope, wanted)


PEAK = """
import re, torch
from expunge.objective.chunks import NUMBERS, in_chunks
torch.set_num_threads(1)
def memory(field):
    return int(re.search(rf"{field}:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) * 1024
def value(logits, place):
    return torch.nn.functional.cross_entropy(logits, targets[place], reduction="none")
class Layer:
    trained, weight = False, torch.randn(2**17, 8)
    def __call__(self, last):
        return last @ self.weight.T
last, targets = torch.randn(1024, 8, requires_grad=True), torch.zeros(1024, dtype=torch.long)
before = memory("VmRSS")
in_chunks(last, Layer(), value, NUMBERS // 2**17).sum().backward()
print((memory("VmHWM") - before) / (4 * NUMBERS))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="where the peak of memory cannot be read")
def test_chunk_after_chunk_fits_where_the_last_one_was() -> None:
    """32 chunks, in a process of its own: 12 chunks' worth here, and 50 to 65 when each left a small tensor behind."""
    told = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True).stdout
    assert float(told) < 25
