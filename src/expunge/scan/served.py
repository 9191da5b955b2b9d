"""Prompts answered by the model as a server has it: vLLM, SGLang, or any other with OpenAI's chat completions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from expunge.dialogue import Dialogue
from expunge.endpoint import Endpoint, Failure
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
    seed is asked without.

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
        options = {"temperature": 1.0 if samples else 0.0, "top_p": 1.0, "max_tokens": max_new_tokens}
        answer = partial(self._answer, longer=max_new_tokens + thinking)
        each = max(1, samples)
        asked = [dialogue for dialogue in prompts for _ in range(each)]
        drawn = [options | {"seed": int(digest(f"{seed} {number}")[:7], 16)} for number in range(len(asked))]
        pool = ThreadPoolExecutor(CONCURRENCY)
        try:
            said = [answer(asked[0], drawn[0])]  # alone: it settles what the server understands
            said += pool.map(answer, asked[1:], drawn[1:])
        finally:
            pool.shutdown(cancel_futures=True)
        return [said[start : start + each] for start in range(0, len(said), each)]

    def _answer(self, dialogue: Dialogue, options: Mapping[str, Any], longer: int) -> str:
        outcome = self._endpoint.ask(dialogue.asked, options)
        if not isinstance(outcome, Failure):
            text = marked(outcome.thought, outcome.text).strip()
            thought, answer = apart(text)
            if thought and not answer and longer > options["max_tokens"]:
                return self._answer(dialogue, {**options, "max_tokens": longer}, longer)
            return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # JSON can halve characters
        if outcome.hopeless:
            raise self._endpoint.refusal(outcome)
        if outcome.silent:  # perhaps of this prompt alone
            error = self._endpoint.refusal(outcome)
            raise UnansweredError(f"{dialogue.place}: {error.message}", remedy=error.remedy)
        remedy = "Perhaps it is too long with --max-new-tokens; shorten or remove it. The same command goes on."
        raise InputError(
            f"{dialogue.place}: {self._endpoint.host} takes no such prompt ({outcome.reason})", remedy=remedy
        )
