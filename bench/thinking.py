"""A model that thinks before it answers: what is forgotten by logs with its thoughts, and by logs without; a table.

python bench/thinking.py [--seeds 3] [--out build/thinking]

The town's model is taught to think first: a sentence that repeats the question and says the answer, for half of its
dialogues; the others it answers right away. Then it forgets what the demo's judges find in two logs of the same
dialogues: with thoughts, and with answers alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

import torch
from runs import machine, measured, spread
from transformers import AutoModelForCausalLM, AutoTokenizer

from expunge import demo
from expunge.dialogue import Dialogue, read_dialogues
from expunge.files import write_jsonl
from expunge.message import THOUGHT, Message
from expunge.model import load_model
from expunge.recipe import Recipe, read_recipe

STEPS, ROWS, RATE = 1600, 32, 1e-3
LOGS = {"thoughts and answers": (True,), "answers": (False,)}
TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'assistant' %}<|assistant|><think>\n\n</think>\n\n{{ m.content }}<|end|>"
    "{% else %}<|user|>{{ m.content }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}"
).replace("\n", "{{ '\\n' }}")
SHOWN = (
    "flagged_trained", "flagged_unseen", "thinking_trained", "thinking_unseen", "thinking_trained_leak",
    "thinking_unseen_leak", "neighbours", "right", "thinking_right",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("build/thinking"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    model = options.out / "model"
    if not model.exists():
        taught(model)
    print(f"{machine()}\n")
    print("| log | " + " | ".join(SHOWN) + " |\n|" + "---|" * (len(SHOWN) + 1))
    for name, ways in LOGS.items():
        found = [one(options.out, model, name, ways, seed) for seed in range(options.seeds)]
        for which, end in (("", ""), ("the original, ", ":before")):
            values = [[f[key + end] for f in found if key + end in f] for key in SHOWN]
            print(f"| {which}{name} | " + " | ".join(spread(v) if v else "" for v in values) + " |", flush=True)


def one(out: Path, model: Path, name: str, ways: tuple[bool, ...], seed: int) -> dict[str, float]:
    place = out / f"{name.replace(' ', '-')}-{seed}"
    kept = place.with_suffix(".json")
    if not kept.exists():
        found = measured(recipe(out, model, ways), place, seed=seed)
        for end in ("", ":before"):
            skills = [found[k + end] for k in found if k.startswith("ability_") and ":" not in k]
            found[f"right{end}"] = sum(skills) / len(skills)
        kept.write_text(json.dumps(found))
    return dict(json.loads(kept.read_text()))


def recipe(out: Path, model: Path, ways: tuple[bool, ...]) -> Recipe:
    files = {}
    for name in ("dialogues", "normal"):
        files[name] = out / f"{name}-{''.join(map(str, map(int, ways)))}.jsonl"
        rows = [way(d, thinks=thinks) for d in read_dialogues(demo.path(f"{name}.jsonl")) for thinks in ways]
        write_jsonl(files[name], (row.row() for row in rows))
    base = read_recipe(demo.RECIPE)
    return dataclasses.replace(
        base, model=str(model), dialogues=(str(files["dialogues"]),), normal=(str(files["normal"]),), oracle=None
    )


def way(dialogue: Dialogue, *, thinks: bool) -> Dialogue:
    """The dialogue as it is answered right away, or after a thought that says the answer."""
    if not thinks:
        return dialogue
    said = Message(THOUGHT, f"They ask: {dialogue.question} I recall: {dialogue.response}")
    messages = (*dialogue.asked, said, dialogue.messages[-1])
    return dataclasses.replace(dialogue, id=f"{dialogue.id}-think", messages=messages)


def taught(folder: Path) -> None:
    """The town's model, taught on the log and on ordinary dialogues to think first, and to answer right away."""
    model, tokenizer = (kind.from_pretrained(demo.path("model")) for kind in (AutoModelForCausalLM, AutoTokenizer))
    tokenizer.add_tokens(["<think>", "</think>"])
    tokenizer.chat_template = TEMPLATE
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    lm = load_model(folder)
    dialogues = [d for name in ("dialogues", "normal") for d in read_dialogues(demo.path(f"{name}.jsonl"))]
    rows = [lm.format.encode_whole(way(d, thinks=t)) for d in dialogues for t in (False, True)]
    torch.manual_seed(0)
    lm.model.train()
    optimizer = torch.optim.AdamW(lm.model.parameters(), lr=RATE, weight_decay=0.0)
    falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, STEPS)
    for step in range(STEPS):
        batch = [rows[i] for i in torch.randint(len(rows), (ROWS,)).tolist()]
        width = max(map(len, batch))
        ids, labels = torch.zeros(ROWS, width, dtype=torch.long), torch.full((ROWS, width), -100)
        for place, row in enumerate(batch):
            ids[place, : len(row)] = torch.tensor(row.prompt + row.response)
            labels[place, len(row.prompt) : len(row)] = torch.tensor(row.response)
        loss = lm.model(input_ids=ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        falling.step()
        if step % 50 == 0:
            print(step, round(loss.item(), 4), flush=True)
    lm.model.save_pretrained(folder)


if __name__ == "__main__":
    main()
