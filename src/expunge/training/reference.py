"""The frozen original: its log-probabilities on normal rows, computed once and kept, or asked for at each step."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from expunge.encoding import Batch, Encoded, by_length, response_logits
from expunge.generation import batch_tokens
from expunge.model import LanguageModel

CACHE_BYTES = 2 * 2**30


class Reference:
    """log p_ref of every response token of the normal rows.

    Kept in memory where they fit in `cache_bytes` (4 bytes × response tokens × vocabulary). Otherwise asked for step by
    step: from the model itself with its adapter switched off, or from a frozen copy of it.
    """

    def __init__(self, lm: LanguageModel, rows: Sequence[Encoded], used: Iterable[int], cache_bytes: int = CACHE_BYTES):
        self._rows, self._device = rows, lm.device
        places = sorted(set(used))
        size = 4 * lm.vocabulary * sum(len(rows[i].response) for i in places)
        self._kept: dict[int, torch.Tensor] | None = None
        self._frozen: Any = None
        if size <= cache_bytes:
            self._kept = self._compute(lm, places)
        elif not hasattr(lm.model, "disable_adapter"):
            self._frozen = copy.deepcopy(lm.model).requires_grad_(False).eval()

    def log_probs(self, model: Any, places: Sequence[int]) -> torch.Tensor:
        """Float32 [response tokens, vocabulary] of the rows at `places`, in order."""
        if self._kept is not None:
            return torch.cat([self._kept[i] for i in places])
        off = contextlib.nullcontext() if self._frozen is not None else model.disable_adapter()
        with torch.no_grad(), off:
            found = response_logits(self._frozen or model, [self._rows[i] for i in places], self._device)
        return torch.cat(found).float().log_softmax(-1)

    def _compute(self, lm: LanguageModel, places: Sequence[int]) -> dict[int, torch.Tensor]:
        kept: dict[int, torch.Tensor] = {}
        with torch.no_grad():
            for part in by_length([len(self._rows[i]) for i in places], tokens=batch_tokens(lm.vocabulary)):
                batch = Batch.of([self._rows[places[k]] for k in part], lm.device)
                log_probs = batch.logits(lm.model).float().log_softmax(-1)
                for row, k in enumerate(part):
                    kept[places[k]] = log_probs[row][batch.response[row]].cpu()
        return kept
