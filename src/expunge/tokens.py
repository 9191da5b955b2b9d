"""What a tokenizer tells: where in a text its tokens lie, and which of them end one."""

from __future__ import annotations

from typing import Any

from expunge.errors import InputError

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


def end_tokens(tokenizer: Any, model: Any) -> tuple[int, ...]:
    """All that tokenizer and model name.

    Raises:
        InputError: neither names one.
    """
    places = (tokenizer, getattr(model, "generation_config", None), model.config.get_text_config(), model.config)
    listed = [getattr(place, "eos_token_id", None) for place in places]
    flat = [i for item in listed for i in (item if isinstance(item, (list, tuple)) else [item])]
    ids = dict.fromkeys(i for i in flat if isinstance(i, int))
    if not ids:
        raise InputError("neither tokenizer nor model names an end token", remedy="Set eos_token in the tokenizer.")
    return tuple(ids)
