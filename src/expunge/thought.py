"""What a model thinks aloud before it answers, and what it answers."""

from __future__ import annotations

import re
from dataclasses import dataclass

ROOM = 512
"""Tokens that a model may think for; a longer thought is ended there, and answered after."""

_BLOCK = r"(?:think|thinking|thought|reasoning|analysis)"
_OPEN = re.compile(rf"[<\[]{_BLOCK}[>\]]", re.IGNORECASE)
_CLOSE = re.compile(rf"[<\[]/{_BLOCK}[>\]]", re.IGNORECASE)
_FINAL = re.compile(r"<\|channel\|>final[^{]{0,40}?<\|message\|>")
_ANALYSIS = re.compile(
    r"<\|channel\|>analysis[^{]{0,40}?<\|message\|>(.*?)(?:<\|(?:end|start|return)\|>|\Z)", re.DOTALL
)
_BARE, _BARE_FINAL = "analysis", "assistantfinal"

_SOME = re.compile(r"</?think>|\[/?THINK\]|<\|channel\|>|\Aanalysis")
_BEGUN = re.compile(r"\s*(?:<think>|\[THINK\])(.*?)(?:(?:</think>|\[/THINK\])(.*)|\Z)", re.DOTALL)
_ENDED = re.compile(r"(.*?)(?:</think>|\[/THINK\])[ \t]*(?:\r?\n(.*)|\Z)", re.DOTALL)


def apart(text: str) -> tuple[str, str]:
    """Thought and answer of what a model wrote, each stripped; no thought and the text as it is, where none is marked.

    Marked is what stands between <think> and </think> (or [THINK] and [/THINK]) at the beginning, where the chat
    template may have written the first of them, or in the channels of the harmony format. A thought that was not
    brought to its end leaves no answer.
    """
    if not has_thought(text):
        return "", text
    if "<|channel|>" in text:
        thought, answer = "\n".join(_ANALYSIS.findall(text)), without_reasoning(text)
    elif text.startswith(_BARE) and _BARE_FINAL in text:
        thought, _, answer = text.removeprefix(_BARE).rpartition(_BARE_FINAL)
    elif found := _BEGUN.match(text) or _ENDED.match(text):
        thought, answer = found[1], found[2] or ""
    else:
        return "", text
    return thought.strip(), answer.strip()


def has_thought(text: str) -> bool:
    """Whether any mark of a thought is in it; mostly none is."""
    return _SOME.search(text) is not None


def marked(thought: str, answer: str) -> str:
    """The two as one text, which `apart` takes apart again."""
    return f"<think>\n{thought}\n</think>\n\n{answer}" if thought else answer


def without_reasoning(text: str) -> str:
    """The answer proper: what follows the last block of reasoning; nothing, if the model was still reasoning.

    For what a judge's model writes, in which any block that is named as one of reasoning is. Knows <think>…</think> and
    its like, also where the chat template had opened the block, and the channels of the harmony format, with their
    control tokens or, as decoding often leaves them, without.
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


@dataclass(frozen=True, slots=True)
class Thinking:
    """How a chat format writes a thought between the prompt and the answer.

    thinks: whether the model thinks unless it is told not to. opening, closing: what stands before and after a thought.
    end: the first words of `closing`, by which the model ends its thought. nothing: what stands in the place of all
        three where the model is to answer right away. begun: that part of them which the template writes at the end
        of a prompt; written: which it writes in a dialogue with a response.
    """

    thinks: bool = False
    opening: str = "<think>\n"
    closing: str = "\n</think>\n\n"
    end: str = "\n</think>"
    nothing: str = ""
    begun: str = ""
    written: str = ""

    @classmethod
    def of(cls, prompt: str, whole: str, response: str) -> Thinking:
        """From a prompt as rendered, and from the same with a response."""
        ending = _BEGUN_PROMPT.search(prompt)
        begun = ending[0] if ending else ""
        base = prompt[: len(prompt) - len(begun)]
        if not whole.startswith(base):
            return cls()
        written = whole[len(base) : whole.find(response, len(base))]
        if "<|channel|>final" in written:
            start = prompt[prompt.rfind("<|start|>") :]
            closing = f"<|end|>{start}{written}"
            return cls(True, "<|channel|>analysis<|message|>", closing, "<|end|>", written, begun, written)
        close, opened = _CLOSED.search(written), _OPENED.match(written)
        if not close and not ending:
            return cls()
        tag = ending["open"] if ending else opened[1] if opened else "<think>"
        opening = opened[0] if opened else begun[: ending.end("open") - ending.start() + 1] if ending else f"{tag}\n"
        line = "\n" if opening.endswith("\n") else ""
        end = line + (close[0] if close else tag.replace("<", "</").replace("[", "[/"))
        closing = line + written[close.start() :] if close else end + 2 * line
        nothing = written or (begun if ending and ending["closed"] else opening + closing)
        return cls(not (ending and ending["closed"]), opening, closing, end, nothing, begun, written)


_OPENED = re.compile(r"\s*(<think>|\[THINK\])\n?")
_CLOSED = re.compile(r"</think>|\[/THINK\]")
_BEGUN_PROMPT = re.compile(r"(?P<open><think>|\[THINK\])\s*(?P<closed>(?:</think>|\[/THINK\])\s*)?\Z")
