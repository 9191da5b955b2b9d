"""The frozen original: what it makes of the rows of a training, computed once and kept, or asked for at each step."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from expunge.batches import Output, alike, forward_rows
from expunge.encoding import Encoded
from expunge.generation import batch_tokens
from expunge.model import LanguageModel
from expunge.objective.chunks import log_p
from expunge.objective.term import Kind, Original
from expunge.output_layer import OutputLayer

CACHE_BYTES = 2 * 2**30

Needs = Mapping[Kind, Collection[Original]]
"""What is asked of the original at the rows of each kind."""


@dataclass(frozen=True, slots=True)
class Recalled:
    """What the original makes of one row, float32; None where it is not asked for.

    targets: [response], log-probabilities of the response's own tokens. last: [response, width], what the output layer
    reads for each of them: as good as log-probabilities of the whole vocabulary, and far smaller.
    states: [prompt and response, layers, width], hidden states.
    """

    targets: torch.Tensor | None = None
    last: torch.Tensor | None = None
    states: torch.Tensor | None = None


class Reference:
    """What the original makes of rows of each kind.

    Kept in memory where all of it fits in `cache_bytes` (4 bytes a number, see `Recalled`). Otherwise asked for step by
    step: from the model itself with its adapter switched off, or from a frozen copy of it.
    """

    def __init__(
        self,
        lm: LanguageModel,
        rows: Mapping[Kind, Collection[Encoded]],
        needs: Needs,
        *,
        layers: Sequence[int] = (),
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self._needs, self._device, self._layers = needs, lm.device, layers
        asked = [(kind, row) for kind in needs for row in dict.fromkeys(rows[kind])]
        width = lm.model.config.get_text_config().hidden_size
        numbers = sum(self._numbers(needs[kind], row, width) for kind, row in asked)
        self._layer, self._vocabulary = OutputLayer(lm.model).frozen(), lm.vocabulary
        self._kept: dict[tuple[Kind, Encoded], Recalled] | None = None
        self._frozen: Any = None
        if 4 * numbers <= cache_bytes:
            self._kept = dict(self._compute(lm, asked))
        elif not hasattr(lm.model, "disable_adapter"):
            self._frozen = copy.deepcopy(lm.model).requires_grad_(False).eval()

    def recall(self, model: Any, kind: Kind, rows: Sequence[Encoded]) -> list[Recalled]:
        """Of rows of one kind, in order. `model`: the one in training, with the adapter if there is one."""
        if kind not in self._needs:
            return [Recalled()] * len(rows)
        if self._kept is not None:
            return [self._kept[kind, row] for row in rows]
        off = contextlib.nullcontext() if self._frozen is not None else model.disable_adapter()
        training = model.training
        with torch.no_grad(), off:
            model.eval()  # the original has neither noise nor dropout
            found = forward_rows(self._frozen or model, rows, self._device, self._read(kind))
        model.train(training)
        return [self._recalled(kind, row, output) for row, output in zip(rows, found, strict=True)]

    def _compute(
        self, lm: LanguageModel, asked: Sequence[tuple[Kind, Encoded]]
    ) -> Iterator[tuple[tuple[Kind, Encoded], Recalled]]:
        for kind in self._needs:
            rows = [row for of, row in asked if of == kind]
            for part in alike([len(row) for row in rows], tokens=batch_tokens(lm)):
                chosen = [rows[k] for k in part]
                with torch.no_grad():
                    found = forward_rows(lm.model, chosen, lm.device, self._read(kind))
                for row, output in zip(chosen, found, strict=True):
                    yield (kind, row), self._recalled(kind, row, output, "cpu")

    def _read(self, kind: Kind) -> Sequence[int]:
        return self._layers if "states" in self._needs[kind] else ()

    def _recalled(self, kind: Kind, row: Encoded, found: Output, device: str | None = None) -> Recalled:
        """Copied, so that a row does not hold its whole batch in memory."""
        needs = self._needs[kind]
        targets = last = states = None
        if "targets" in needs:
            response = torch.tensor(row.response, device=found.last.device)
            with torch.no_grad():
                targets = log_p(found.last, response, self._layer, self._vocabulary).to(device)
        if "vocabulary" in needs:
            last = found.last.float().to(device, copy=True)
        if found.hidden is not None:
            states = found.hidden.float().to(device, copy=True)
        return Recalled(targets, last, states)

    def _numbers(self, needs: Collection[Original], row: Encoded, width: int) -> int:
        each = {
            "targets": len(row.response),
            "vocabulary": len(row.response) * width,
            "states": len(row) * len(self._layers) * width,
        }
        return sum(each[need] for need in needs)
