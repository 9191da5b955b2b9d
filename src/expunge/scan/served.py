"""Prompts answered by the model as a server has it: vLLM, SGLang, or any other with OpenAI's chat completions."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from expunge.dialogue import Dialogue
from expunge.endpoint import Endpoint, Failure, Reply
from expunge.errors import InputError, UnansweredError
from expunge.files import digest
from expunge.thought import apart, marked

CONCURRENCY = 64
"""Requests at one time: servers like these answer so many together."""

TIMEOUT, RETRIES = 600.0, 5
"""Seconds without a byte, while others are waited for; and tries after it, with growing pauses."""


class Served:
    """The model behind `url` (up to and including /v1), by the name that the server has for it.

    Chats are sent as messages, so the template is the server's own, and so is all that a request does not say: a
    temperature of 0, or 1 for samples, nothing cut off (`top_p`), and a seed for each sample. A server that takes no
    seed is asked without. One that draws several answers to one request (`n`) is asked once a prompt.

    Raises:
        InputError: a URL, a name or a key that cannot be used; when called, a server that refuses the key, does not
            know the model or does not answer, or a prompt that it cannot take.
        MissingExtraError: without the package openai.
    """

    def __init__(self, url: str, model: str, *, retries: int = RETRIES) -> None:
        self._endpoint = Endpoint(url, model, timeout=TIMEOUT, retries=retries, optional=("seed",))
        self.name = f"{model} at {self._endpoint.url}"

    def __call__(
        self, prompts: Sequence[Dialogue], *, max_new_tokens: int, samples: int, seed: int, thinking: int = 0
    ) -> list[list[str]]:
        """Answers to each prompt, as `generation.generate` gives them; whether the model thinks, the server decides.

        One that is cut off while it thinks is asked again, with room to think.
        """
        options: dict[str, Any] = {"temperature": 1.0 if samples else 0.0, "top_p": 1.0, "max_tokens": max_new_tokens}
        each = max(1, samples)
        together = self._together(prompts[0], options | {"seed": _number(f"{seed}")}, min(each, CONCURRENCY))
        parts = [range(start, min(start + together, each)) for start in range(0, each, together)]
        asked = [(place, part) for place in range(len(prompts)) for part in parts]

        def answers(request: tuple[int, range]) -> list[str]:
            place, part = request
            seeds = [_number(f"{seed} {place * each + number}") for number in part]
            return self._answers(prompts[place], options, seeds, max_new_tokens + thinking)

        pool = ThreadPoolExecutor(CONCURRENCY // together)
        try:
            found = [answers(asked[0])]  # alone: it settles what the server understands
            found += pool.map(answers, asked[1:])
        finally:
            pool.shutdown(cancel_futures=True)
        said = [text for texts in found for text in texts]
        return [said[start : start + each] for start in range(0, len(said), each)]

    def _together(self, dialogue: Dialogue, options: dict[str, Any], most: int) -> int:
        """How many answers a request is to bring: `most`, where so many came to one that were drawn apart, else one.

        Some servers draw them all by the one seed, and alike (SGLang's deterministic inference; vLLM, for a time). What
        came is not used: kept only where it differs, it would make a model look less certain than it is.
        """
        if most == 1:
            return 1
        found = self._endpoint.ask_several(dialogue.asked, options | {"n": most})
        if isinstance(found, Failure):
            if found.hopeless:
                raise self._endpoint.refusal(found)
            return 1
        return most if len(found) >= most and len({(reply.thought, reply.text) for reply in found}) > 1 else 1

    def _answers(self, dialogue: Dialogue, options: dict[str, Any], seeds: Sequence[int], longer: int) -> list[str]:
        """An answer for each seed: by one request, and by one each for those that do not come so."""
        said = list[str]()
        if len(seeds) > 1:
            found = self._endpoint.ask_several(dialogue.asked, options | {"seed": seeds[0], "n": len(seeds)})
            said = [] if isinstance(found, Failure) else [_whole(reply) for reply in found[: len(seeds)]]
        if any(map(_cut_off, said)) and longer > options["max_tokens"]:  # all: those alone would favour short thoughts
            return self._answers(dialogue, options | {"max_tokens": longer}, seeds, longer)
        return said + [self._answer(dialogue, options | {"seed": seed}, longer) for seed in seeds[len(said) :]]

    def _answer(self, dialogue: Dialogue, options: dict[str, Any], longer: int) -> str:
        outcome = self._endpoint.ask(dialogue.asked, options)
        if not isinstance(outcome, Failure):
            text = _whole(outcome)
            if _cut_off(text) and longer > options["max_tokens"]:
                return self._answer(dialogue, options | {"max_tokens": longer}, longer)
            return text
        if outcome.hopeless:
            raise self._endpoint.refusal(outcome)
        if outcome.silent:  # perhaps of this prompt alone
            error = self._endpoint.refusal(outcome)
            raise UnansweredError(f"{dialogue.place}: {error.message}", remedy=error.remedy)
        remedy = "Perhaps it is too long with --max-new-tokens; shorten or remove it. The same command goes on."
        raise InputError(
            f"{dialogue.place}: {self._endpoint.host} takes no such prompt ({outcome.reason})", remedy=remedy
        )


def _whole(reply: Reply) -> str:
    """What was thought and said. JSON can halve characters."""
    text = marked(reply.thought, reply.text)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").strip()


def _cut_off(text: str) -> bool:
    """Whether the model was still thinking."""
    thought, answer = apart(text)
    return bool(thought) and not answer


def _number(text: str) -> int:
    return int(digest(text)[:7], 16)
