"""Remote judges on the command line, and against a real server."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from command_line import told
from expunge import demo
from expunge.dialogue import Dialogue
from expunge.errors import InputError
from expunge.judges import RemoteJudge
from expunge.message import Message
from served import said, serving

Run = Callable[..., tuple[int, str, str]]
KEY = "sk-secret-0123456789"


@pytest.fixture
def expunge(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return partial(told, capsys)


def prepare(folder: Path, url: str) -> None:
    rows = [{"question": f"Number {i}?", "answer": f"It is 555-{i:04}."} for i in range(3)]
    (folder / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "policy.md").write_text("Never give a phone number.")
    (folder / "judges.toml").write_text(
        f'[[judge]]\nuse = "remote={url}"\nmodel = "m"\npolicy = "policy.md"\nprice_in = 1.0\n'
    )
    (folder / "recipe.toml").write_text(
        'model = "town"\n[scan]\ndialogues = "in.jsonl"\njudges = "judges.toml"\n[unlearn]\nnormal = "in.jsonl"\n'
    )


def test_scan_sends_only_with_leave_and_tells_what_it_cost(expunge: Run, tmp_path: Path) -> None:
    with serving(lambda *_: said("privacy")) as server:
        prepare(tmp_path, server.url)
        words = ("scan", "town", tmp_path / "in.jsonl", "--judge", tmp_path / "judges.toml", "--out")
        code, out, err = expunge(*words, tmp_path / "v.jsonl")
        assert (code, out) == (2, "") and "127.0.0.1" in err and "--allow-remote" in err
        assert not server.asked and not (tmp_path / "v.jsonl").exists()
        code, out, err = expunge(*words, tmp_path / "v.jsonl", "--allow-remote")
        assert code == 0 and "m: 3 answers, 0 failed, 30 tokens read, 15 written, cost 0.0000" in out
        code, more, _ = expunge(*words, tmp_path / "w.jsonl", "--allow-remote", "--json")
        assert json.loads(more)["usage"][0]["prompt_tokens"] == 30
    assert KEY not in out + err + more and "555" not in out + err + more
    assert len((tmp_path / "v.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    "words",
    [
        ("run", "recipe.toml", "--out", "o"),
        ("unlearn", "town", "in.jsonl", "--judge", "judges.toml", "--out", "o"),
        ("audit", "town", "--reference", "town", "--forget", "in.jsonl", "--judge", "judges.toml", "--out", "o"),
    ],
)
def test_no_verb_sends_without_leave(
    expunge: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    with serving(lambda *_: said("privacy")) as server:
        prepare(tmp_path, server.url)
        code, _, err = expunge(*words)
        assert code == 2 and "--allow-remote" in err
        assert not server.asked and not (tmp_path / "o").exists()


def test_an_audit_of_a_run_asks_for_leave_again(expunge: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The judges that a run's folder names are taken over, the leave that it had is not."""
    from expunge.manifest import Manifest
    from expunge.recipe import read_recipe

    monkeypatch.chdir(tmp_path)
    with serving(lambda *_: said("privacy")) as server:
        prepare(tmp_path, server.url)
        Manifest.begin(tmp_path / "o", read_recipe("recipe.toml"))
        (tmp_path / "o" / "split").mkdir(exist_ok=True)
        (tmp_path / "o" / "split" / "forget.jsonl").write_text((tmp_path / "in.jsonl").read_text())
        code, _, err = expunge("audit", "o/model", "--reference", "town", "--out", "a")
        assert code == 2 and "--allow-remote" in err and not server.asked


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """`transformers serve` with the town model."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).parent / "transformers"), "serve", str(demo.path("model"))]
    options = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    process = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(300):
            assert process.poll() is None, "the server did not start"
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.slow
def test_a_real_server_is_understood(url: str) -> None:
    """The town model knows nothing of policies: all its answers are nonsense, and all of them come."""
    settings = {"model": str(demo.path("model")), "policy": "Never give a phone number.", "max_tokens": 8}
    asked = [Dialogue((Message("user", f"Ask {i}?"), Message("assistant", "Call 555-0142."))) for i in range(6)]
    judge = RemoteJudge(url, **settings, system=False, concurrency=3)
    found = judge.judge(asked)
    assert [(v.label, v.reason) for v in found] == [("unknown", "no verdict in the model's answer")] * 6
    assert judge.usage.answers == 6 and judge.usage.prompt_tokens > 6 * 300 and 6 <= judge.usage.completion_tokens <= 48
    with pytest.raises(InputError, match="gave no answer") as caught:  # its template knows no system role
        RemoteJudge(url, **settings, retries=1).judge(asked[:2])
    assert "system = false" in caught.value.remedy
