"""Whether the Hugging Face hub can be asked: without it, what was loaded before is taken from the cache at once."""

from __future__ import annotations

import os
import socket
import urllib.request
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from expunge.files import exists

PATIENCE = 5.0
"""Seconds that the hub is given to accept a connection."""


def ready(name: str | Path) -> None:
    """Before something of this name is loaded: where it is no folder and the hub cannot be reached, the hub's library
    is told so, which would try for half a minute and more."""
    if not _folder(name) and not _offline() and not _reached():
        from huggingface_hub import constants

        constants.HF_HUB_OFFLINE = True
        os.environ["HF_HUB_OFFLINE"] = "1"  # for what is imported later, and for workers


def lack(name: str | Path) -> str:
    """Why something of this name, which did not load, may be missing; "" where that is not for want of the hub."""
    if _folder(name) or not _offline():
        return ""
    if _reached.cache_info().currsize:
        return "it is no folder here, nor whole in the cache, and the hub cannot be reached"
    variable = next((n for n in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE") if os.environ.get(n)), "HF_HUB_OFFLINE")
    return f"it is no folder here, nor whole in the cache, and {variable} is set, so the hub is not asked"


def _folder(name: str | Path) -> bool:
    return exists(Path(name)) and Path(name).is_dir()


def _offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


@cache
def _reached() -> bool:
    """Whether the hub's host takes connections; behind a proxy that is the proxy's to say."""
    from huggingface_hub import constants

    address = urlsplit(constants.ENDPOINT)
    if urllib.request.getproxies():
        return True
    try:
        port = address.port or (80 if address.scheme == "http" else 443)
        socket.create_connection((address.hostname or "", port), timeout=PATIENCE).close()
    except OSError:
        return False
    return True
