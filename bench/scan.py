"""A scan of many dialogues: how many a second, in how much memory, and whether anything is lost when it is killed.

    python bench/scan.py [FOLDER] [--rows 1000000] [--out build/scan]
    FOLDER (or EXPUNGE_DATA) with gsm8k/, halueval/ and tofu/ adds long responses to the town's short ones

Every row is a dialogue of its own (its question is numbered). Seconds are the process's own on one core, from the first
row to the finished file, reading and writing included; memory is the peak of the whole process. The large scan is then
killed three times and resumed; its file must be the undisturbed one's, byte for byte.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from expunge import demo
from expunge.files import file_digest

PART = 20_000
TIMES = 3
CHILD = """
import resource, sys, time
from pathlib import Path
from expunge.judges import load_judge
from expunge.scan import scan
source, judge, out = sys.argv[1:]
judges = [load_judge(judge)]
before = time.process_time()
found = scan([source], judges, Path(out))
seconds = time.process_time() - before
print(found.written, found.resumed, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def town() -> list[tuple[str, str]]:
    rows = (json.loads(line) for name in ("dialogues.jsonl", "normal.jsonl") for line in demo.path(name).open())
    pairs = ([m["content"] for m in row["messages"][-2:]] for row in rows if row["messages"][-1]["role"] == "assistant")
    return [(question, answer) for question, answer in pairs]


def long(folder: Path) -> list[tuple[str, str]]:
    """Mathematics, chat and biographies."""
    found = [(r["question"], r["answer"]) for r in map(json.loads, (folder / "gsm8k/test.jsonl").open())]
    chat = map(json.loads, (folder / "halueval/general_data.json").open())
    found += [(r["user_query"], r["chatgpt_response"]) for r in chat]
    return found + [(r["question"], r["answer"]) for r in map(json.loads, (folder / "tofu/full.jsonl").open())]


def write(path: Path, pairs: Sequence[tuple[str, str]], count: int) -> float:
    """Rows drawn from the pairs; the mean length of their responses."""
    rng = random.Random(0)
    characters = 0
    with path.open("w") as file:
        for number in range(count):
            question, answer = rng.choice(pairs)
            characters += len(answer)
            file.write(json.dumps({"prompt": f"{question} ({number})", "response": answer}) + "\n")
    return characters / count


def scanned(source: Path, judge: str, out: Path, *, kill_after: float | None = None) -> list[float]:
    """Rows written, rows resumed, seconds, MiB; nothing if killed."""
    command = [sys.executable, "-c", CHILD, str(source), judge, str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        told, _ = process.communicate(timeout=kill_after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return []
    return [float(word) for word in told.split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", default=os.environ.get("EXPUNGE_DATA"))
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, default=Path("build/scan"))
    options = parser.parse_args()
    shutil.rmtree(options.out, ignore_errors=True)
    options.out.mkdir(parents=True)
    print("| responses | judge | dialogues a second and core, median (least–most) |\n|---|---|---|")
    for name, pairs in {"short": town(), **({"long": long(Path(options.folder))} if options.folder else {})}.items():
        source = options.out / f"{name}.jsonl"
        length = write(source, pairs, PART)
        for judge in ("registry", "privacy"):
            outs = [options.out / f"{name}-{judge}-{i}.jsonl" for i in range(TIMES)]
            rates = [PART / scanned(source, judge, out)[2] for out in outs]
            spread = f"{statistics.median(rates):,.0f} ({min(rates):,.0f}–{max(rates):,.0f})"
            print(f"| {name}, {length:.0f} characters | {judge} | {spread} |", flush=True)
    source = options.out / "many.jsonl"
    write(source, town(), options.rows)
    start = time.monotonic()
    written, _, seconds, memory = scanned(source, "registry", options.out / "whole.jsonl")
    print(f"\n{written:,.0f} dialogues: {seconds:.0f} s of processor, peak memory {memory:,.0f} MiB")
    whole = time.monotonic() - start
    for share in (0.2, 0.3, 0.4):
        scanned(source, "registry", options.out / "killed.jsonl", kill_after=share * whole)
    _, resumed, _, _ = scanned(source, "registry", options.out / "killed.jsonl")
    same = file_digest(options.out / "whole.jsonl") == file_digest(options.out / "killed.jsonl")
    print(f"killed three times, {resumed:,.0f} rows resumed at the end: {'the same' if same else 'ANOTHER'} file")


if __name__ == "__main__":
    main()
