"""vLLM in this process beside the model as it is loaded: how many greedy answers are alike, and the time of both.

    pip install 'expunge[vllm]'
    python bench/engine.py MODEL PROMPTS [--template plain] [--max-new-tokens 128]

PROMPTS: JSON Lines; responses in them are not used. Both answer in turn, three times, with one thread on a CPU; the
time is the processor's and by the clock. To begin vLLM is a line of its own. Where answers differ, both are printed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch

from expunge.dialogue import read_dialogues
from expunge.generation import generate
from expunge.model import load_model
from expunge.scan.engine import Engine


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """What the work gives, and the seconds it took: the processor's, and by the clock."""
    processor, clock = time.process_time(), time.monotonic()
    found = work()
    return found, time.process_time() - processor, time.monotonic() - clock


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("prompts")
    parser.add_argument("--template")
    parser.add_argument("--max-new-tokens", type=int, default=128)
    args = parser.parse_args()
    torch.set_num_threads(1)
    prompts, most = read_dialogues(args.prompts), args.max_new_tokens
    lm, engine = load_model(args.model, template=args.template), Engine(args.model, args.template)
    _, *began = timed(lambda: engine(prompts[:1], max_new_tokens=1, samples=0, seed=0))
    print("to begin vLLM: {:.1f} s of the processor, {:.1f} by the clock".format(*began))
    for _ in range(3):
        ours, *own = timed(lambda: generate(lm, prompts, max_new_tokens=most))
        theirs, *its = timed(lambda: engine(prompts, max_new_tokens=most, samples=0, seed=0))
        same = sum(a == b for a, b in zip(ours, theirs, strict=True))
        share = [f"{a:.2f} s, vLLM {b:.2f} ({b / a:.2f})" for a, b in zip(own, its, strict=True)]
        print(f"alike: {same} of {len(prompts)}; processor {share[0]}; clock {share[1]}")
    for a, b in zip(ours, theirs, strict=True):
        if a != b:
            print(f"- {a[0]!r}\n+ {b[0]!r}")


if __name__ == "__main__":  # vLLM may import this file anew
    main()
