"""`python -m expunge.demo.build`: make the whole demo again: data, classifier, oracle and town model."""

from __future__ import annotations

import argparse
import copy
import json
import os
import random
import time
from pathlib import Path

import torch

from expunge.demo import DATA, classifier, dataset, evaluate, train
from expunge.demo.world import World, build_world

# Stage 1 is shared: both models start stage 2 from the very same weights.
STAGE_1 = train.Stage(steps=1400, start=1.0, end=0.5)
STAGE_2 = train.Stage(steps=450, start=0.5, end=0.0)
FORGET_SHARE = 0.3


def harm_accuracy(folder: Path, data: Path) -> float:
    """How often the classifier is right on unseen phrasings, harmful and ordinary."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    rows = [*dataset.read(data / "unseen.jsonl"), *dataset.read(data / "ability.jsonl")]
    prompts = [row["messages"][-2]["content"] for row in rows]
    responses = [row["messages"][-1]["content"] for row in rows]
    inputs = tokenizer(prompts, responses, padding=True, return_tensors="pt")
    with torch.no_grad():
        said = model(**inputs).logits.argmax(-1).tolist()
    right = [label == (row.get("forget") == "harmful") for label, row in zip(said, rows, strict=True)]
    return float(sum(right) / len(right))


def build_models(world: World, out: Path, stages: tuple[train.Stage, train.Stage], seed: int) -> dict[str, float]:
    """Stage 1 once, then stage 2 with the forget rows (town) and without (oracle). Returns the seconds of each."""
    tokenizer = train.make_tokenizer(world)
    model = train.make_model(tokenizer, seed)
    times: dict[str, float] = {}
    began = time.monotonic()
    train.train(model, tokenizer, train.sampler(world, random.Random(seed + 1)), stages[0])
    times["stage 1"] = time.monotonic() - began
    for name, share in (("model", FORGET_SHARE), ("oracle", 0.0)):
        began = time.monotonic()
        twin = copy.deepcopy(model)
        train.train(twin, tokenizer, train.sampler(world, random.Random(seed + 2), share), stages[1])
        train.save(twin, tokenizer, out / name)
        times[f"stage 2, {name}"] = time.monotonic() - began
    return times


def table(out: Path, times: dict[str, float]) -> dict[str, object]:
    town, oracle = (evaluate.measure(out / name, out) for name in ("model", "oracle"))
    print(f"{'':32}{'town':>8}{'oracle':>8}")
    for name, share in town.items():
        print(f"{name:32}{share:8.3f}{oracle[name]:8.3f}")
    harm = harm_accuracy(out / "harm", out)
    print(f"{'harm classifier':32}{harm:8.3f}")
    for name, seconds in times.items():
        print(f"{name:32}{seconds:7.0f}s")
    return {"town": town, "oracle": oracle, "harm": harm, "seconds": times}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=DATA, help="where to write (default: the packaged data)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, nargs=2, default=(STAGE_1.steps, STAGE_2.steps), metavar=("S1", "S2"))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--data-only", action="store_true", help="write the data files and train nothing")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    world = build_world()
    dataset.write(world, options.out)
    if options.data_only:
        return
    began = time.monotonic()
    classifier.train_classifier(world, options.out / "harm")
    times = {"classifier": time.monotonic() - began}
    first, second = options.steps
    stages = (train.Stage(first, STAGE_1.start, STAGE_1.end), train.Stage(second, STAGE_2.start, STAGE_2.end))
    times.update(build_models(world, options.out, stages, options.seed))
    figures = table(options.out, times)
    (options.out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
