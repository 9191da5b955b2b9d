"""The frozen original: what it makes of normal rows, computed once and kept, or asked for at each step."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from expunge.encoding import Encoded, Output, alike, forward_rows
from expunge.generation import batch_tokens
from expunge.model import LanguageModel

CACHE_BYTES = 2 * 2**30


class Reference:
    """log p_ref of every response token of the normal rows, and hidden states after `layers` of every token.

    Kept in memory where they fit in `cache_bytes` (4 bytes × (response tokens × vocabulary + tokens × layers × width)).
    Otherwise asked for step by step: from the model itself with its adapter switched off, or from a frozen copy of it.
    """

    def __init__(
        self,
        lm: LanguageModel,
        rows: Sequence[Encoded],
        used: Iterable[int],
        *,
        layers: Sequence[int] = (),
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self._rows, self._device, self._layers = rows, lm.device, layers
        places = sorted(set(used))
        width = lm.model.config.get_text_config().hidden_size
        floats = sum(lm.vocabulary * len(rows[i].response) + len(layers) * width * len(rows[i]) for i in places)
        self._kept: dict[int, Output] | None = None
        self._frozen: Any = None
        if 4 * floats <= cache_bytes:
            self._kept = self._compute(lm, places)
        elif not hasattr(lm.model, "disable_adapter"):
            self._frozen = copy.deepcopy(lm.model).requires_grad_(False).eval()

    def outputs(self, model: Any, places: Sequence[int]) -> list[Output]:
        """Of the rows at `places`, in order, float32; the logits are log-probabilities."""
        if self._kept is not None:
            return [self._kept[i] for i in places]
        off = contextlib.nullcontext() if self._frozen is not None else model.disable_adapter()
        training = model.training
        with torch.no_grad(), off:
            model.eval()  # the original has neither noise nor dropout
            rows = [self._rows[i] for i in places]
            found = forward_rows(self._frozen or model, rows, self._device, self._layers)
        model.train(training)
        return [_plain(output) for output in found]

    def _compute(self, lm: LanguageModel, places: Sequence[int]) -> dict[int, Output]:
        kept: dict[int, Output] = {}
        with torch.no_grad():
            for part in alike([len(self._rows[i]) for i in places], tokens=batch_tokens(lm.vocabulary)):
                chosen = [places[k] for k in part]
                found = forward_rows(lm.model, [self._rows[i] for i in chosen], lm.device, self._layers)
                kept.update({i: _plain(output, "cpu") for i, output in zip(chosen, found, strict=True)})
        return kept


def _plain(found: Output, device: str | None = None) -> Output:
    """In float32, logits as log-probabilities; copied, so that a row does not hold its whole batch in memory."""
    hidden = None if found.hidden is None else found.hidden.float().to(device, copy=True)
    return Output(found.logits.float().log_softmax(-1).to(device), hidden)
