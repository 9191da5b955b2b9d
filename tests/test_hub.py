"""Without a network nothing is tried again and again, and the message says what is so."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from expunge import hub
from expunge.errors import InputError
from expunge.judges.loading import load
from expunge.model import check_model, load_model
from expunge.planning.sizes import read_sizes

ASKING: list[Callable[[], object]] = [
    lambda: check_model("no/model"),
    lambda: load("no/model", "SequenceClassification"),
    lambda: read_sizes("no/model"),
]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """A machine without a network; the hosts that it looked for."""
    found: list[object] = []

    def unreachable(address: object, **_: object) -> None:
        found.append(address)
        raise OSError("no network")

    monkeypatch.setattr(socket, "create_connection", unreachable)
    monkeypatch.setattr(hub.urllib.request, "getproxies", dict)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "")
    hub._reached.cache_clear()
    yield found
    hub._reached.cache_clear()


@pytest.mark.parametrize("ask", ASKING)
def test_the_hub_is_looked_for_once(asked: list[object], ask: Callable[[], object]) -> None:
    for _ in range(2):
        with pytest.raises(InputError, match="no folder here, nor whole in the cache, and the hub cannot be reached"):
            ask()
    assert asked == [("huggingface.co", 443)] and os.environ["HF_HUB_OFFLINE"] == "1"


@pytest.mark.parametrize("ask", ASKING)
@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_a_variable_that_forbids_it_is_named(
    asked: list[object], ask: Callable[[], object], variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv(variable, "1")
    with pytest.raises(InputError, match=f"and {variable} is set, so the hub is not asked"):
        ask()
    assert not asked


def test_a_folder_needs_no_hub(asked: list[object], tiny: Path, tmp_path: Path) -> None:
    load_model(tiny)
    load_model("town")
    with pytest.raises(InputError, match=r"cannot load the model '.*': (?!it is no folder)"):
        check_model(tmp_path)
    assert not asked and not constants.HF_HUB_OFFLINE
