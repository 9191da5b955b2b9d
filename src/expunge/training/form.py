"""Which tokens of an answer follow from its form alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from expunge.encoding import Encoded

SEEN = 3
"""A context seen less often says nothing."""
SURE = 0.9
"""A token that follows its context at least so often is given by the form."""


class Form:
    """Token frequencies in normal responses, given the two tokens before; given one, where the two are rare.

    The end of a mail address or the year after "on the 3rd of May" follows from the form, and a neighbour needs it: to
    push it down would damage the neighbour and hide nothing. The name before the "@" does not follow.
    """

    def __init__(self, rows: Iterable[Encoded]) -> None:
        self._follow: Counter[tuple[int, ...]] = Counter()
        self._before: Counter[tuple[int, ...]] = Counter()
        for row in rows:
            ids = (*row.prompt[-2:], *row.response)
            for i in range(len(ids) - len(row.response), len(ids)):
                for context in (ids[i - 2 : i], ids[i - 1 : i]):
                    self._before[context] += 1
                    self._follow[*context, ids[i]] += 1

    def given(self, row: Encoded) -> tuple[bool, ...]:
        """For each response token, whether it follows from the form."""
        ids = (*row.prompt[-2:], *row.response)
        return tuple(self._frequency(ids, i) >= SURE for i in range(len(ids) - len(row.response), len(ids)))

    def _frequency(self, ids: Sequence[int], i: int) -> float:
        for context in (tuple(ids[i - 2 : i]), tuple(ids[i - 1 : i])):
            if self._before[context] >= SEEN:
                return self._follow[*context, ids[i]] / self._before[context]
        return 0.0
