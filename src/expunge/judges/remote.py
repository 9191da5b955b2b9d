"""The remote judge: a policy read by a model behind any OpenAI-compatible chat-completions endpoint."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from expunge.dialogue import Dialogue
from expunge.endpoint import KEY, Endpoint, Failure, Reply
from expunge.errors import InputError
from expunge.files import digest
from expunge.judges.answers import Answers
from expunge.judges.policy import RULES, SCHEMA, check_switches, policy_chat, policy_verdict, read_policy
from expunge.judges.usage import Usage
from expunge.judges.verdict import Verdict

PATIENCE = 8
"""So many requests in a row without any answer mean that the server is gone."""


class RemoteJudge:
    """Flags responses that a served model, given a policy, finds to break it. It sends whole dialogues to the server.

    url: up to and including /v1. model: as the server calls it. policy: its text, or a file (.md, .txt). key_env: the
    environment variable with the server's key; servers without keys need none. concurrency: requests at one time.
    timeout: seconds without a byte; retries: with growing pauses, or those that the server asks for. json_schema:
    whether answers are held to a schema, where the server knows how. system: whether the policy is a system message.
    cache: a file of answers, so that none is asked for twice. price_in, price_out: for a million tokens.

    A dialogue that gets no answer after all retries is `unknown`, and so is an answer that holds no verdict.

    Raises:
        InputError: a setting that cannot be used; at `judge`, a server that refuses the key, does not know the model
            or answers nothing. MissingExtraError: without the package openai.
    """

    name = "remote"

    def __init__(
        self,
        url: str,
        *,
        model: str,
        policy: str | Path,
        key_env: str = KEY,
        concurrency: int = 8,
        timeout: float = 60.0,
        retries: int = 5,
        max_tokens: int = 1024,
        json_schema: bool = True,
        system: bool = True,
        cache: str | Path | None = None,
        price_in: float | None = None,
        price_out: float | None = None,
    ) -> None:
        _check_numbers(concurrency=concurrency, timeout=timeout, max_tokens=max_tokens)
        _check_numbers(least=0, retries=retries, price_in=price_in or 0, price_out=price_out or 0)
        check_switches(json_schema=json_schema, system=system)
        self.policy, self.system, self.concurrency = read_policy(policy), system, concurrency
        form = {"type": "json_schema", "json_schema": {"name": "verdict", "strict": True, "schema": SCHEMA}}
        self._options: dict[str, Any] = {"temperature": 0.0, "max_tokens": max_tokens}
        if json_schema:
            self._options["response_format"] = form
        optional = ("temperature", "response_format")
        self._endpoint = Endpoint(url, model, key_env=key_env, timeout=timeout, retries=retries, optional=optional)
        self._prices = None if price_in is None and price_out is None else (price_in or 0.0, price_out or 0.0)
        parts = (self._endpoint.url, model, self.policy, RULES, repr((max_tokens, json_schema, system)))
        self.version = digest("remote 2", *parts)[:12]
        self._answers = Answers(Path(cache) if cache else None)
        self._lock = threading.Lock()
        self._silent = 0
        self._end: InputError | None = None
        self.usage = Usage(model, cost=None if self._prices is None else 0.0)

    def judge(self, dialogues: Sequence[Dialogue]) -> list[Verdict]:
        self._silent, self._end = 0, None
        todo = [i for i, d in enumerate(dialogues) if (d.response or "").strip() and self._known(d) is None]
        failures = dict(zip(todo, self._ask_all([dialogues[i] for i in todo]), strict=True))
        return [self._verdict(d, failures.get(i)) for i, d in enumerate(dialogues)]

    def _verdict(self, dialogue: Dialogue, failure: Failure | None) -> Verdict:
        answer = self._known(dialogue)
        if answer is not None:
            return policy_verdict(answer, dialogue, self.policy, judge=self.name, version=self.version)
        reason = f"no answer ({failure.reason})" if failure else "an empty response"
        return Verdict("unknown", 0.0, self.name, self.version, reason)

    def _known(self, dialogue: Dialogue) -> str | None:
        return self._answers.get(self._key(dialogue))

    def _key(self, dialogue: Dialogue) -> str:
        return digest(self.version, *(part for m in dialogue.messages for part in (m.role, m.content)))[:32]

    def _ask_all(self, dialogues: Sequence[Dialogue]) -> list[Failure | None]:
        """Ask, and keep the answers; in the dialogues' order, what went wrong. Until there is a first answer one is
        asked alone, which settles key, model and what the server understands."""
        if not dialogues:
            return []
        alone = 0 if self.usage.answers else 1
        found = [self._ask(d) for d in dialogues[:alone]]
        pool = ThreadPoolExecutor(self.concurrency)
        try:
            found += pool.map(self._ask, dialogues[alone:])
        finally:
            pool.shutdown(cancel_futures=True)
        last = found[-1]
        if not self.usage.answers and last is not None:
            raise self._endpoint.gone(last, len(found))
        return found

    def _ask(self, dialogue: Dialogue) -> Failure | None:
        if self._end:
            raise self._end
        outcome = self._endpoint.ask(policy_chat(self.policy, dialogue, system=self.system), self._options)
        with self._lock:
            if isinstance(outcome, Reply):
                self._silent = 0
                self._count(outcome)
            else:
                self._fail(outcome)
        if isinstance(outcome, Failure):
            return outcome
        self._answers.add(self._key(dialogue), outcome.text)
        return None

    def _count(self, reply: Reply) -> None:
        used, read, written = self.usage, reply.prompt_tokens, reply.completion_tokens
        if self._prices is not None:
            used = replace(used, cost=(used.cost or 0.0) + (read * self._prices[0] + written * self._prices[1]) / 1e6)
        self.usage = replace(
            used,
            answers=used.answers + 1,
            prompt_tokens=used.prompt_tokens + read,
            completion_tokens=used.completion_tokens + written,
        )

    def _fail(self, failure: Failure) -> None:
        self.usage = replace(self.usage, failures=self.usage.failures + 1)
        self._silent += failure.silent or not self.usage.answers
        if self._end:
            raise self._end
        if failure.status == 401 or (failure.hopeless and not self.usage.answers):
            self._end = self._endpoint.refusal(failure)
        elif self._silent >= PATIENCE:
            self._end = self._endpoint.gone(failure, self._silent)
        if self._end:
            raise self._end


def _check_numbers(least: float = 1e-9, **numbers: Any) -> None:
    for name, value in numbers.items():
        whole = name in ("concurrency", "retries", "max_tokens")
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not least <= value < 1e9:
            kind = "a whole number" if whole else "a number"
            raise InputError(f"{name!r} must be {kind}, not negative" + (", and not 0" if least else ""))
