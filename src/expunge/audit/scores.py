"""Token scores, kept for the length of one audit: each distinct row goes through each model once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from expunge.encoding import Encoded
from expunge.generation import TokenScores, token_scores
from expunge.model import LanguageModel


class Scores:
    """The scores of rows under models; what is asked again is not computed again. A model must not change meanwhile."""

    def __init__(self) -> None:
        self._known: dict[Any, dict[tuple[tuple[int, ...], tuple[int, ...]], TokenScores]] = {}

    def of(self, lm: LanguageModel, rows: Sequence[Encoded]) -> list[TokenScores]:
        """The scores of each row's response under `lm`, in order."""
        known = self._known.setdefault(lm.model, {})
        new = {(r.prompt, r.response): r for r in rows if (r.prompt, r.response) not in known}
        known.update(zip(new, token_scores(lm, list(new.values())), strict=True))
        return [known[r.prompt, r.response] for r in rows]
