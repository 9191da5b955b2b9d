"""What a message holds in OpenAI's form beside a role and one text: contents in parts, and calls of tools."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from expunge.errors import InputError

Fault = Callable[[str, str], InputError]
"""An error with its place, of a message and a remedy."""

WORD = re.compile(r"[A-Za-z_-]{1,24}")
"""Field names, roles and types that messages may quote; anything else might be dialogue text in the wrong place."""

_TEXTS = ("text", "input_text", "output_text")


def joined(parts: Sequence[Any], name: str, fault: Fault) -> str:
    """The texts of a content in parts, joined by line breaks, as vLLM joins them.

    Raises:
        InputError: a part that is no text.
    """
    for part in parts:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind not in _TEXTS or not isinstance(part.get("text"), str):
            told = f" of type {kind!r}" if isinstance(kind, str) and kind not in _TEXTS and WORD.fullmatch(kind) else ""
            raise fault(f"the {name} has a part{told} that is no text", "Only texts are read: remove part or row.")
    return "\n".join(part["text"] for part in parts)


def of_tools(item: Mapping[str, Any], name: str, fault: Fault) -> dict[str, Any]:
    """What a message says of tools: an assistant's calls, their arguments as JSON; and whose result a tool's is.

    Raises:
        InputError: calls that are none.
    """
    if item["role"] == "tool":
        return {key: str(item[key]) for key in ("tool_call_id", "name") if item.get(key) is not None}
    if item["role"] != "assistant" or not item.get("tool_calls"):
        return {}
    try:
        return {"tool_calls": [_call(call) for call in item["tool_calls"]]}
    except (KeyError, TypeError, AttributeError):
        raise fault(f"{name} has tool calls without a function's name", "Write them as OpenAI does.") from None


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call.get("function") or call
    given = function.get("arguments")
    text = given if isinstance(given, str) else json.dumps(given or {}, ensure_ascii=False)
    known = {"id": call["id"]} if call.get("id") is not None else {}
    return known | {"type": "function", "function": {"name": function["name"] + "", "arguments": text}}


def tools_of(value: Any, fault: Fault) -> list[Any]:
    """The tools that a row offers.

    Raises:
        InputError: it is no list of tables.
    """
    tools = unpacked(value) or []
    if not isinstance(tools, list) or not all(isinstance(tool, Mapping) for tool in tools):
        raise fault("'tools' must be a list of tables", "Write them as OpenAI does, or remove them.")
    return tools


def unpacked(value: Any) -> Any:
    """What a text says as JSON, where it does: exports of databases have such columns."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(value)
    return value
