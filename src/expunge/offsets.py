"""Where in a text its tokens lie, also where a tokenizer counts wrongly."""

from __future__ import annotations

from typing import Any

_SPACE = "▁"
"""In the tokens of SentencePiece."""


def token_places(tokenizer: Any, text: str, coded: Any) -> list[tuple[int, int]]:
    """Where each token lies. A tokenizer that drops what it does not know counts on as if that were not there."""
    offsets, backend = list(coded["offset_mapping"]), tokenizer.backend_tokenizer
    unknown = getattr(backend.model, "unk_token", None) or "<0x00>"  # the first of the bytes to fall back on
    if backend.token_to_id(unknown) is not None:
        return offsets
    pieces, text = [piece.replace(_SPACE, " ") for piece in coded.tokens()], text.replace(_SPACE, " ")
    if "".join(pieces).removeprefix(" ") == text.removeprefix(" "):
        return offsets
    found, place = list[tuple[int, int]](), 0
    for piece in pieces:
        added = not found and not text.startswith(" ") and piece.startswith(" ")
        start = end = place
        for i, letter in enumerate(piece[added:]):
            at = text.find(letter, end)
            if at < 0:  # bytes, or letters written otherwise: the tokenizer's own offsets are right
                return offsets
            start, end = (at if i == 0 else start), at + 1
        found.append((start, end))
        place = end
    return found
