"""What the terms of the loss are computed from, worked by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from expunge.batches import Output
from expunge.encoding import Encoded
from expunge.training.gather import gather
from expunge.training.reference import Recalled

ROWS = [Encoded((1, 1), (5, 6, 7), (False, True, True)), Encoded((1,), (8, 9), (True, False))]
"""Of 2 + 3 and 1 + 2 tokens; at fault are two of the first one's and one of the second's."""


def numbers(first: int, *shape: int) -> torch.Tensor:
    return torch.arange(first, first + math.prod(shape)).view(shape).float()


FOUND = [Output(numbers(0, 3, 4), numbers(100, 5, 2, 4)), Output(numbers(50, 2, 4), numbers(200, 3, 2, 4))]
RECALLED = [
    Recalled(numbers(-9, 3), numbers(300, 3, 4), numbers(0, 3, 5), -FOUND[0].hidden),  # type: ignore[operator]
    Recalled(numbers(-3, 2), numbers(350, 2, 4), numbers(20, 2, 5), -FOUND[1].hidden),  # type: ignore[operator]
]


def test_of_rows_to_forget_the_tokens_at_fault() -> None:
    """In a step of four rows: an eighth for each of two tokens, a quarter for a row's only one."""
    levels = [torch.tensor([-1.0, -2.0, -3.0]), torch.tensor([-4.0, -5.0])]
    found = gather(ROWS, FOUND, RECALLED, 4, at_fault=True, levels=levels)
    said, inner = found.said, found.said.inner
    assert said.targets.tolist() == [6, 7, 8] and said.rows.tolist() == [0, 0, 1] and said.count == 4
    assert said.weights.tolist() == [1 / 8, 1 / 8, 1 / 4]
    assert said.levels is not None and said.levels.tolist() == [-2, -3, -4]
    assert said.original_targets is not None and said.original_targets.tolist() == [-8, -7, -3]
    assert found.last[:, 0].tolist() == [4, 8, 50] and said.logits.shape == (3, 0) and said.mean is None
    assert found.original is not None and found.original[:, 0].tolist() == [304, 308, 350]
    assert said.top is not None and said.top[0].tolist() == [[5, 6], [10, 11], [20, 21]]
    assert said.top[1].tolist() == [[7, 8, 9], [12, 13, 14], [22, 23, 24]]
    assert inner is not None and inner.states[:, 0, 0].tolist() == [124, 132, 208]
    assert inner.original is not None and torch.equal(inner.original, -inner.states)
    assert inner.weights.tolist() == said.weights.tolist()


def test_of_other_rows_all_of_the_response_and_the_states_of_the_prompt_too() -> None:
    found = gather(ROWS, FOUND, [replace(r, targets=None, last=None, top=None) for r in RECALLED], 4)
    said, inner = found.said, found.said.inner
    assert said.targets.tolist() == [5, 6, 7, 8, 9] and said.rows.tolist() == [0, 0, 0, 1, 1]
    assert said.weights.tolist() == pytest.approx([1 / 12] * 3 + [1 / 8] * 2)
    assert found.original is said.original_targets is said.top is said.mean is said.levels is None
    assert inner is not None and inner.weights.tolist() == pytest.approx([1 / 20] * 5 + [1 / 12] * 3)
    assert torch.equal(inner.states, torch.cat([output.hidden for output in FOUND]))  # type: ignore[misc]


def test_what_a_cluster_goes_on_with_is_filled_up_with_nothing() -> None:
    means = [(((5, 0.25), (3, 0.75)), ((6, 1.0),), ((7, 1.0),)), (((8, 1.0),), ((9, 1.0),))]
    bare = [Output(output.last, None) for output in FOUND]
    said = gather(ROWS, bare, [Recalled()] * 2, 2, means=means).said
    assert said.inner is None and said.mean is not None
    assert said.mean[0].tolist() == [[5, 3], [6, 0], [7, 0], [8, 0], [9, 0]]
    assert said.mean[1].tolist() == [[0.25, 0.75]] + [[1, 0]] * 4
