"""What a search for private data brings back."""

from __future__ import annotations

from dataclasses import dataclass

from expunge.span import Span


@dataclass(frozen=True, slots=True)
class Finding:
    """Something private at `span`. `reason` names its kind and disguise, never the value."""

    span: Span
    reason: str
    score: float
