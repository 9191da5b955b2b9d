"""What a model thinks aloud before it answers is no part of its answer."""

from __future__ import annotations

import re

_BLOCK = r"(?:think|thinking|thought|reasoning|analysis)"
_OPEN = re.compile(rf"[<\[]{_BLOCK}[>\]]", re.IGNORECASE)
_CLOSE = re.compile(rf"[<\[]/{_BLOCK}[>\]]", re.IGNORECASE)
_FINAL = re.compile(r"<\|channel\|>final[^{]{0,40}?<\|message\|>")
_BARE_FINAL = "assistantfinal"


def without_reasoning(text: str) -> str:
    """The answer proper: what follows the last block of reasoning; nothing, if the model was still reasoning.

    Knows <think>…</think> and its like, also where the chat template had opened the block, and the channels of the
    harmony format, with their control tokens or, as decoding often leaves them, without.
    """
    if "<|channel|>" in text:
        *_, end = [0, *(match.end() for match in _FINAL.finditer(text))]
        return re.sub(r"<\|(?:return|end)\|>\s*$", "", text[end:]) if end else ""
    if re.match(r"analysis(?![\s:.,])", text):
        return text.rpartition(_BARE_FINAL)[2] if _BARE_FINAL in text else ""
    *_, end = [0, *(match.end() for match in _CLOSE.finditer(text))]
    rest = text[end:]
    still = _OPEN.search(rest)
    return rest[: still.start()] if still else rest
