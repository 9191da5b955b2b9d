"""The frozen original: what it makes of the rows of a training, computed once and kept, or asked for at each step."""

from __future__ import annotations

import contextlib
import copy
import math
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch

from expunge.batches import Output, alike, forward_rows
from expunge.encoding import Encoded
from expunge.files import digest
from expunge.generation import batch_tokens
from expunge.model import LanguageModel
from expunge.objective.chunks import likeliest, log_p
from expunge.objective.term import Kind, Original
from expunge.output_layer import OutputLayer
from expunge.sharding import sharded
from expunge.training.kept import kept
from expunge.training.processes import is_main, main_first

KEPT_BYTES = 64 * 2**30

Needs = Mapping[Kind, Collection[Original]]
"""What is asked of the original at the rows of each kind."""


@dataclass(frozen=True, slots=True)
class Recalled:
    """What the original makes of one row, float32; None where it is not asked for.

    targets: [response], log-probabilities of the response's own tokens. last: [response, width], what the output layer
    reads for each of them: as good as log-probabilities of the whole vocabulary, and far smaller.
    top: [response, 2 k + 1], as `objective.chunks.likeliest` has them.
    states: [prompt and response, layers, width], hidden states.
    """

    targets: torch.Tensor | None = None
    last: torch.Tensor | None = None
    top: torch.Tensor | None = None
    states: torch.Tensor | None = None


class Reference:
    """What the original makes of rows of each kind.

    Kept in a mapped file where all of it takes at most `kept_bytes` (4 bytes a number, see `Recalled`), and found there
    by a run that goes on. Otherwise asked for step by step: from the model itself with its adapter switched off, or
    from a frozen copy of it; not where weights are shared out, since all processes would have to ask at once.
    """

    def __init__(
        self,
        lm: LanguageModel,
        rows: Mapping[Kind, Collection[Encoded]],
        needs: Needs,
        folder: Path,
        *,
        layers: Sequence[int] = (),
        top: int = 0,
        half: bool = False,
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        """folder: of a run with this model; the file's name says by which rows it was made.
        top: how many of the likeliest tokens are kept where a term asks for these.
        half: whether it computes in bfloat16 as the training does; then the two differ by nothing but the training.

        Raises:
            OutputError: the folder has no room for it.
        """
        self._needs, self._device, self._layers, self._half = needs, lm.device, layers, half
        self._width = int(lm.model.config.get_text_config().hidden_size)
        self._top = top
        self._read = int(lm.model.get_output_embeddings().in_features)  # some project what the output layer reads
        self._layer, self._vocabulary = OutputLayer(lm.model).frozen(), lm.vocabulary
        parts = list(self._parts(lm, rows))
        asked = [(kind, row) for kind, part in parts for row in part]
        starts = list(accumulate((self._numbers(*each) for each in asked), initial=0))
        self._starts = dict(zip(asked, starts, strict=False))
        self._kept: torch.Tensor | None = None
        self._frozen: Any = None
        if 4 * starts[-1] <= kept_bytes or sharded(lm.model):
            name = f"reference-{digest(repr((asked, [sorted(n) for n in needs.values()], layers, top, half)))[:16]}.f32"
            if sharded(lm.model) and not is_main() and not (folder / name).exists():
                deque(self._compute(lm, parts), maxlen=0)  # all must compute together; the first one keeps it
            with main_first():
                self._kept = kept(folder / name, starts[-1], lambda: self._compute(lm, parts))
        elif not hasattr(lm.model, "disable_adapter"):
            self._frozen = copy.deepcopy(lm.model).requires_grad_(False).eval()

    def recall(self, model: Any, kind: Kind, rows: Sequence[Encoded]) -> list[Recalled]:
        """Of rows of one kind, in order. `model`: the one in training, with the adapter if there is one."""
        if kind not in self._needs:
            return [Recalled()] * len(rows)
        if self._kept is not None:
            return [self._found(self._kept[self._starts[kind, row] :], kind, row) for row in rows]
        off = contextlib.nullcontext() if self._frozen is not None else model.disable_adapter()
        training = model.training
        with off:
            model.eval()  # the original has neither noise nor dropout
            found = self._outputs(self._frozen or model, kind, rows)
        model.train(training)
        return [self._recalled(kind, row, output) for row, output in zip(rows, found, strict=True)]

    def _parts(
        self, lm: LanguageModel, rows: Mapping[Kind, Collection[Encoded]]
    ) -> Iterator[tuple[Kind, list[Encoded]]]:
        """Distinct rows of one kind that are read together."""
        for kind in self._needs:
            distinct = list(dict.fromkeys(rows[kind]))
            for part in alike([len(row) for row in distinct], tokens=batch_tokens(lm)):
                yield kind, [distinct[k] for k in part]

    def _compute(self, lm: LanguageModel, parts: Sequence[tuple[Kind, list[Encoded]]]) -> Iterator[torch.Tensor]:
        """All that is kept, in order."""
        for kind, part in parts:
            found = self._outputs(lm.model, kind, part)
            for row, output in zip(part, found, strict=True):
                recalled = self._recalled(kind, row, output)
                yield from (
                    x for x in (recalled.targets, recalled.last, recalled.top, recalled.states) if x is not None
                )

    def _found(self, numbers: torch.Tensor, kind: Kind, row: Encoded) -> Recalled:
        """The first of these numbers, as they were kept for a row."""
        shapes = self._shapes(kind, row)
        pieces = iter(torch.split(numbers[: self._numbers(kind, row)], [math.prod(s) for s in shapes.values()]))
        return Recalled(**{name: next(pieces).view(shape) for name, shape in shapes.items()})

    def _outputs(self, model: Any, kind: Kind, rows: Sequence[Encoded]) -> list[Output]:
        layers = self._layers if "states" in self._needs[kind] else ()
        with torch.no_grad(), torch.autocast(self._device.type, torch.bfloat16, enabled=self._half):
            return forward_rows(model, rows, self._device, layers)

    def _recalled(self, kind: Kind, row: Encoded, found: Output) -> Recalled:
        needs, targets, top = self._needs[kind], None, None
        with torch.no_grad(), torch.autocast(self._device.type, torch.bfloat16, enabled=self._half):
            if "targets" in needs:
                response = torch.tensor(row.response, device=found.last.device)
                targets = log_p(found.last, response, self._layer, self._vocabulary)
            if "top" in needs:
                top = likeliest(found.last, self._top, self._layer, self._vocabulary)
        last = found.last.float() if "vocabulary" in needs else None
        return Recalled(targets, last, top, None if found.hidden is None else found.hidden.float())

    def _shapes(self, kind: Kind, row: Encoded) -> dict[str, tuple[int, ...]]:
        """Of the fields of `Recalled` that are asked for, in their order."""
        each: dict[Original, tuple[str, tuple[int, ...]]] = {
            "targets": ("targets", (len(row.response),)),
            "vocabulary": ("last", (len(row.response), self._read)),
            "top": ("top", (len(row.response), 2 * self._top + 1)),
            "states": ("states", (len(row), len(self._layers), self._width)),
        }
        return dict(shape for need, shape in each.items() if need in self._needs[kind])

    def _numbers(self, kind: Kind, row: Encoded) -> int:
        return sum(map(math.prod, self._shapes(kind, row).values()))
