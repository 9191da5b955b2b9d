"""Ctrl-C and SIGTERM."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from served import Answer, Asked, completion, serving

STOP = """
import os, signal, sys, threading
from pathlib import Path
from expunge.cli.stop import stoppable

verb, number, *names = sys.argv[1:]
lock = threading.Event()

def command(**given):
    threading.Thread(target=lock.wait).start()  # a request under way, say
    try:
        os.kill(os.getpid(), int(number))
        lock.wait()
    finally:
        print("waited")

stoppable(verb, command)(**{name: Path(name) for name in names})
"""


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """What a shell began in the background ignores Ctrl-C, and so would all that it begins."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def stopped(folder: Path, *words: str) -> tuple[int, str, str]:
    done = subprocess.run([sys.executable, "-c", STOP, *words], cwd=folder, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("scan", "out"), "what was judged is kept beside out; the same command goes on from there"),
        (("unlearn", "out"), "what was done is kept in out; the same command goes on from there"),
        (("compare", "new"), "nothing was done yet; the same command begins anew"),
        (("audit", "out", "cache"), "an audit is not kept half-done; the same command begins anew, but for what"),
        (("diff", "out"), "nothing is left half-done; the same command begins anew"),
    ],
)
def test_it_ends_at_once_with_one_line(
    number: signal.Signals, code: int, words: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    verb, *names = words
    found, out, err = stopped(tmp_path, verb, str(int(number)), *names)
    assert (found, out) == (code, "") and err.startswith(f"stopped: {told}") and err.count("\n") == 1


def test_what_is_ignored_stays_so(tmp_path: Path) -> None:
    """As the Ctrl-C of a script's foreground is for what it left running in the background."""
    script = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + STOP.replace(
        "lock.wait()\n    f", "lock.set()\n    f"
    )
    words = [sys.executable, "-c", script, "run", str(int(signal.SIGINT)), "out"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "waited\n", "")


def test_no_answer_is_waited_for(tmp_path: Path) -> None:
    """It was, through all tries: for an hour where the server hangs."""
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"prompt": f"{i}?"}) + "\n" for i in range(300)))
    words = ["scan", "m", "in.jsonl", "--judge", "privacy", "--out", "v.jsonl", "--server"]
    hangs = True

    def behave(asked: Asked, number: int) -> Answer:
        while hangs and number > 270:
            time.sleep(0.01)
        return completion(f"Call +1 202-456-{asked.text[:-1]:0>4}.")

    with serving(behave) as server:
        command = [sys.executable, "-m", "expunge", *words, server.url]
        scan = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while len(server.asked) < 280 and scan.poll() is None:
            time.sleep(0.01)
        scan.send_signal(signal.SIGINT)
        try:
            out, err = scan.communicate(timeout=30)
        finally:
            scan.kill()
        assert (scan.returncode, out) == (130, "") and err.startswith("stopped: ") and err.count("\n") == 1
        hangs = False
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=120)
        words[words.index("v.jsonl")] = "w.jsonl"
        command = [sys.executable, "-m", "expunge", *words, server.url]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    assert (tmp_path / "v.jsonl").read_bytes() == (tmp_path / "w.jsonl").read_bytes()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks Linux")
def test_workers_end_with_what_began_them() -> None:
    """They waited for ever."""
    script = """
import multiprocessing, os, signal
from concurrent.futures import ProcessPoolExecutor
from expunge.scan.run import _begin

pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_begin, initargs=(None, None))
print(pool.submit(os.getpid).result(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, timeout=60)
    worker = Path(f"/proc/{int(done.stdout)}/stat")
    until = time.monotonic() + 10
    while worker.exists() and worker.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < until, os.kill(int(done.stdout), signal.SIGKILL)
        time.sleep(0.05)
