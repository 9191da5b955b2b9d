"""How likely a response is to a model that never saw it: the level at which forgetting is to end, token by token."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import torch

from expunge.encoding import Encoded
from expunge.generation import token_log_probs
from expunge.model import LanguageModel

ORDER = 3
"""Tokens of an n-gram."""
CERTAIN = -1e-4
"""Log-probability of a token that anyone would guess: the highest level, as those of `negative.match` lie below 0."""


class Ngrams:
    """Frequencies of tokens in responses, by the two before them, smoothed after Witten and Bell (1991).

    p(v | c) = (n(c v) + t(c) · p(v | b)) / (n(c) + t(c)), where n counts, t(c) is the number of kinds of tokens seen
    after c, and b is c without its first
    token; below one token all of the vocabulary is alike.
    """

    def __init__(self, rows: Iterable[Encoded], vocabulary: int) -> None:
        self._vocabulary = vocabulary
        self._pairs: Counter[tuple[int, ...]] = Counter()
        self._before: Counter[tuple[int, ...]] = Counter()
        self._kinds: Counter[tuple[int, ...]] = Counter()
        for row in rows:
            for ids in _windows(row):
                for start in range(len(ids)):
                    context, whole = ids[start:-1], ids[start:]
                    self._kinds[context] += whole not in self._pairs
                    self._pairs[whole] += 1
                    self._before[context] += 1

    def log_probabilities(self, row: Encoded) -> list[float]:
        """Of each response token."""
        return [math.log(self._probability(ids)) for ids in _windows(row)]

    def _probability(self, ids: tuple[int, ...]) -> float:
        p = 1 / self._vocabulary
        for start in range(len(ids) - 1, -1, -1):
            context = ids[start:-1]
            seen, kinds = self._before[context], self._kinds[context]
            if seen:
                p = (self._pairs[ids[start:]] + kinds * p) / (seen + kinds)
        return p


class Levels:
    """log q of each token of each forget row, for `negative.match`.

    How probable a token is by its form, n-grams of normal responses say; what a model makes of tokens so probable when
    it never saw the row, its log-probabilities on rows that were never seen say: the k-th of the former goes with the
    k-th of the latter, both sorted. So the levels are spread as those of rows that were truly never seen, from the
    likeliest to the least likely token; nothing of the forget rows' own likelihood enters. Training moves the model on
    those rows too, and the levels move with it: `now`.
    """

    def __init__(
        self, forget: Sequence[Encoded], normal: Sequence[Encoded], never_seen: Sequence[Encoded], vocabulary: int
    ) -> None:
        ngrams = Ngrams(normal, vocabulary)
        self._never_seen = never_seen
        self._form = [ngrams.log_probabilities(row) for row in forget]
        self._form_never_seen = np.sort(np.concatenate([ngrams.log_probabilities(row) for row in never_seen]))

    def now(self, lm: LanguageModel) -> list[torch.Tensor]:
        """As the model is now: float32 [response] of each forget row."""
        said = np.sort(np.concatenate([log_p.double().numpy() for log_p in token_log_probs(lm, self._never_seen)]))
        found = [np.interp(form, self._form_never_seen, said) for form in self._form]
        return [torch.tensor(row, dtype=torch.float32).clamp_max(CERTAIN) for row in found]


def _windows(row: Encoded) -> Iterable[tuple[int, ...]]:
    """Each response token with those before it, ORDER in all where there are so many."""
    ids = (*row.prompt[-(ORDER - 1) :], *row.response)
    first = len(ids) - len(row.response)
    return (ids[max(0, i - ORDER + 1) : i + 1] for i in range(first, len(ids)))
