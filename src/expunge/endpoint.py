"""One chat-completions endpoint: a question to an answer, or to the cause why there is none."""

from __future__ import annotations

import logging
import os
import re
import ssl
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

from expunge.errors import InputError, MissingExtraError, UnansweredError
from expunge.message import THOUGHTS, Message, as_openai


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model answered, what it thought first if the server tells it apart, and the tokens that it counted."""

    text: str
    thought: str
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no answer, after all retries. status: HTTP's, or 0."""

    reason: str
    status: int = 0

    @property
    def silent(self) -> bool:
        """Whether the server, rather than this one dialogue, is the cause."""
        return not 400 <= self.status < 500 or self.status in (402, 404, 408, 429)

    @property
    def hopeless(self) -> bool:
        """Whether other dialogues would fare no better."""
        unreached = self.reason in (NO_CONNECTION, NOT_SECURE)
        return unreached or 300 <= self.status < 400 or self.status in (401, 402, 403, 404)


KEY = "OPENAI_API_KEY"
"""The environment variable with the key, where none is named."""

NO_CONNECTION, NOT_SECURE = "no connection", "no secure connection"
BROKEN, TIMEOUT = "connection broken off", "timeout"


class Endpoint:
    """An endpoint and a model behind it. Opens no connection before it is asked.

    optional: options of a request that the server may refuse.

    Raises:
        InputError: a URL, a model's name, a variable's name or a key that cannot be used.
        MissingExtraError: without the package openai.
    """

    def __init__(
        self, url: str, model: str, *, timeout: float, retries: int, key_env: str = KEY, optional: Collection[str] = ()
    ) -> None:
        self.url, self.host = _checked_url(url)
        if not isinstance(model, str) or not model.strip():
            raise InputError("the model's name is empty", remedy="Name it as the server does.")
        self.model, self.key_env, self._optional = model, key_env, frozenset(optional)
        self._client = _client(self.url, _key(key_env), timeout, retries)
        self._refused: frozenset[str] = frozenset()
        self._settled = False

    def ask(self, chat: Sequence[Message], options: Mapping[str, Any]) -> Reply | Failure:
        """The answer to a chat. Options that the server refuses before its first answer are left out from then on."""
        found = self.ask_several(chat, options)
        return found if isinstance(found, Failure) else found[0]

    def ask_several(self, chat: Sequence[Message], options: Mapping[str, Any]) -> list[Reply] | Failure:
        """All answers that one request brings: `n`, an option, of them, or fewer; each counts all tokens."""
        import openai

        refused, settled = self._refused, self._settled
        while True:
            try:
                completion = self._send(chat, _taken(options, refused))
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                blamed = frozenset() if settled else _blamed(options.keys() - refused, self._optional, error)
                if not blamed:
                    return Failure(f"HTTP {error.status_code}", error.status_code)
                refused |= blamed
            except openai.APITimeoutError:
                return Failure(TIMEOUT)
            except openai.APIConnectionError as error:
                return Failure(_unconnected(error))
            except openai.APIStatusError as error:
                return Failure(f"HTTP {error.status_code}", error.status_code)
            except (openai.OpenAIError, ValueError):
                return Failure("no chat completion")
            else:
                self._refused, self._settled = refused, True
                return _replies(completion)

    def _send(self, chat: Sequence[Message], options: Mapping[str, Any]) -> Any:
        messages, tools = as_openai(chat)
        offered = {"tools": tools} if tools else {}
        return self._client.chat.completions.create(model=self.model, messages=messages, **offered, **options)

    def refusal(self, failure: Failure) -> UnansweredError:
        """The error for a failure that all dialogues would share."""
        if failure.status in (401, 403):
            return UnansweredError(
                f"{self.host} refuses the key (HTTP {failure.status})",
                remedy=f"Set the environment variable {self.key_env} to a key of that server with access to the model.",
            )
        if failure.status == 404:
            remedy = "Check `model`, as the server lists it, and the URL, which mostly ends in /v1."
            return UnansweredError(f"{self.host} does not know the model {self.model!r}, or the URL", remedy=remedy)
        return self.gone(failure, 1)

    def gone(self, failure: Failure, count: int) -> UnansweredError:
        """The error for a server that gives no answers."""
        what = "the request" if count == 1 else f"{count} requests in a row"
        return UnansweredError(f"{self.host} gave no answer to {what} ({failure.reason})", remedy=_remedy(failure))


def _unconnected(error: Exception) -> str:
    """The reason: a server that was reached, one that was not, or one that cannot be trusted to be itself."""
    causes = [error.__cause__]
    while (last := causes[-1]) is not None:
        causes.append(last.__cause__ or last.__context__)
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return NOT_SECURE
    return NO_CONNECTION if type(error.__cause__).__name__ == "ConnectError" else BROKEN  # httpx's, of any version


def _remedy(failure: Failure) -> str:
    if failure.reason == NOT_SECURE:
        return "Check the URL; where its certificate is of your own making, set SSL_CERT_FILE to a file of it."
    if failure.reason == TIMEOUT:
        return "It may be too busy: a judge takes a longer `timeout`, or less `concurrency`."
    if failure.reason == NO_CONNECTION:
        return "Start the server, or check the URL, which mostly ends in /v1."
    if failure.reason == BROKEN:
        return "See the server's own log."
    if failure.status == 0:
        return "Check the URL, which mostly ends in /v1."
    if failure.status < 400:
        return "It sends elsewhere, which is not followed: give the final URL."
    if failure.status in (402, 429):
        return "It limits requests: wait, check the account's quota, or give a judge less `concurrency`."
    return "Check `model`; set `system = false` for a model without the system role; see the server's own log."


def _checked_url(url: str) -> tuple[str, str]:
    """The URL without the part that the client adds, and its host with port; a URL with secrets in it is refused."""
    remedy = "Such as http://127.0.0.1:8000/v1; a key stands in an environment variable (OPENAI_API_KEY)."
    try:
        parts = urlsplit(url.strip())
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or "@" in parts.netloc or parts.query or parts.fragment:
        raise InputError("the URL of the server cannot be used", remedy=remedy)
    return url.strip().rstrip("/").removesuffix("/chat/completions"), parts.netloc


def _key(variable: str) -> str:
    """The key, or a stand-in for servers that want none. The value is never shown."""
    if not isinstance(variable, str) or not re.fullmatch(r"[A-Z_][A-Z0-9_]*", variable):
        remedy = "It is the variable's name, in capitals, and never the key itself."
        raise InputError("`key_env` is no name of an environment variable", remedy=remedy)
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and (key.isprintable() or not key)):
        raise InputError(f"the key in {variable} has characters that no key has", remedy="Set it anew.")
    return key or "none"


def _client(url: str, key: str, timeout: float, retries: int) -> Any:
    try:
        import openai
    except ImportError:
        raise MissingExtraError("openai", "remote", "asking a server") from None
    logging.getLogger("openai").setLevel(logging.WARNING)  # the debug log of older versions quotes what is sent
    direct = openai.DefaultHttpxClient(follow_redirects=False)  # the dialogues go to the named server and no other
    return openai.OpenAI(base_url=url, api_key=key, timeout=timeout, max_retries=retries, http_client=direct)


def _taken(options: Mapping[str, Any], refused: Collection[str]) -> dict[str, Any]:
    """The options without those refused; `max_tokens` by its newer name."""
    taken = {name: value for name, value in options.items() if name not in refused}
    return taken | ({"max_completion_tokens": options["max_tokens"]} if "max_tokens" in refused else {})


def _blamed(names: Collection[str], optional: frozenset[str], error: Any) -> frozenset[str]:
    """Those options that the error names, else the form of the answer; none if it is not for them."""
    said = f"{getattr(error, 'param', '')} {error.message}"
    if "max_tokens" in names and "max_completion_tokens" in said:
        return frozenset({"max_tokens"})
    refusable = optional & set(names)
    return frozenset(n for n in refusable if n in said) or refusable & {"response_format"}


def _replies(completion: Any) -> list[Reply] | Failure:
    choices, usage = (getattr(completion, name, None) for name in ("choices", "usage"))
    found = [_reply(SimpleNamespace(choices=[c], usage=usage)) for c in (choices if isinstance(choices, list) else [])]
    return [reply for reply in found if isinstance(reply, Reply)] or Failure("no chat completion")


def _reply(completion: Any) -> Reply | Failure:
    """The model's words; none, where it was cut off while it reasoned, or a filter took them."""
    try:
        message = completion.choices[0].message
        text = message.content
    except (AttributeError, IndexError, TypeError):
        return Failure("no chat completion")
    usage = getattr(completion, "usage", None)
    counts = [getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens")]
    read, written = (n if isinstance(n, int) and n >= 0 else 0 for n in counts)
    thoughts = (getattr(message, name, None) for name in THOUGHTS)
    thought = next((t.strip() for t in thoughts if isinstance(t, str)), "")
    return Reply(text if isinstance(text, str) else "", thought, read, written)
