"""Encoded rows through a model: padding and company without effect, batches within their budget."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st

from expunge.batches import Batch, alike, forward_rows
from expunge.dialogue import Dialogue
from expunge.message import Message
from expunge.model import LanguageModel
from expunge.output_layer import OutputLayer
from expunge.packing import by_length


def asked(response: str, question: str) -> Dialogue:
    return Dialogue((Message("user", question), Message("assistant", response)))


def test_padding_changes_no_logits(lm: LanguageModel) -> None:
    rows = [lm.format.encode(asked("word " * n, "why " * m)) for n, m in ((1, 9), (20, 1), (3, 3), (7, 20))]
    batch = Batch.of(rows)
    together, apart = batch.split(batch.logits(lm.model)), forward_rows(lm.model, rows, "cpu", (1, 2))
    for i, row in enumerate(rows):
        ids = torch.tensor([row.prompt + row.response])
        single = lm.model(input_ids=ids, output_hidden_states=True)
        alone = single.logits[0, len(row.prompt) - 1 : -1]
        torch.testing.assert_close(together[i], alone, atol=1e-5, rtol=0)
        torch.testing.assert_close(OutputLayer(lm.model)(apart[i].last), alone, atol=1e-5, rtol=0)
        hidden = torch.stack([single.hidden_states[layer][0] for layer in (1, 2)], 1)
        torch.testing.assert_close(apart[i].hidden, hidden, atol=1e-5, rtol=0)
        assert batch.split(batch.targets)[i].tolist() == list(row.response)


def test_a_model_that_gives_logits_everywhere(lm: LanguageModel) -> None:
    batch = Batch.of([lm.format.encode(asked("word " * n, "why " * m)) for n, m in ((1, 9), (7, 2))])

    def everywhere(logits_to_keep: torch.Tensor, **options: Any) -> Any:
        return lm.model(**options)

    torch.testing.assert_close(batch.logits(everywhere), batch.logits(lm.model))


@given(st.lists(st.integers(1, 60), max_size=40), st.integers(1, 200))
def test_batches_cover_every_row_once_within_their_budget(lengths: list[int], tokens: int) -> None:
    batches = list(by_length(lengths, tokens=tokens))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[i] for i in batch)
        assert len(batch) == 1 or longest * len(batch) <= tokens
        assert longest == lengths[batch[0]]


@given(st.lists(st.integers(1, 60), max_size=40), st.integers(1, 400))
def test_groups_of_like_length_waste_little(lengths: list[int], tokens: int) -> None:
    groups = list(alike(lengths, tokens=tokens))
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    for group in groups:
        padded = max(lengths[i] for i in group) * len(group)
        assert padded - sum(lengths[i] for i in group) <= 0.15 * padded
        assert len(group) == 1 or padded <= tokens
