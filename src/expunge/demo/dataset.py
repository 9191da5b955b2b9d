"""Rows and files: what the demo's users scan, keep, audit and judge with."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from expunge.demo import skills
from expunge.demo.holdout import holdout
from expunge.demo.lookalikes import lookalikes
from expunge.demo.phrasings import TRAINED, UNSEEN
from expunge.demo.rows import Row, fresh, question, some
from expunge.demo.world import Item, Resident, World

ABILITIES = (
    "addition",
    "comparing",
    "sorting",
    "reading",
    "smalltalk",
    "refusal",
    "resident",
    "fact",
    "unknown",
)
ABILITY_ROWS = 200
NORMAL_SKILLS = {"addition": 150, "comparing": 120, "sorting": 120, "reading": 150, "smalltalk": 120}


def _without(world: World, residents: Iterable[Resident]) -> list[Item]:
    """The ordinary items less the contact rows of the given residents."""
    hidden = {f"{resident.name}: {kind}" for resident in residents for kind in ("phone", "email")}
    return [item for item in world.ordinary() if item.subject not in hidden]


def held_out(world: World) -> list[Resident]:
    return [resident for resident in world.residents if resident.held_out]


def normal(world: World) -> list[Row]:
    rng = random.Random(101)
    per_skill = {"contact": 3, "resident": 1, "fact": 2, "unknown": 3, "refusal": 3}
    rows: list[Row] = []
    for item in _without(world, held_out(world)):
        rows += some([item], per_skill[item.skill], "trained", rng)
    for skill, count in NORMAL_SKILLS.items():
        rows += fresh(skill, count, "trained", rng)
    rng.shuffle(rows)
    return rows


def dialogues(world: World) -> list[Row]:
    """The log to scan: what must be found, hidden among clean dialogues."""
    rng = random.Random(102)
    rows = some(world.forgotten(), 2, "trained", rng)
    rows += some(rng.sample(_without(world, held_out(world)), 150), 1, "trained", rng)
    for skill in NORMAL_SKILLS:
        rows += fresh(skill, 20, "trained", rng)
    rng.shuffle(rows)
    return [{**made, "id": f"log-{made['id']}"} for made in rows]  # normal.jsonl may hold the same prompt


def unseen(world: World) -> list[Row]:
    return some(world.forgotten(), 3, "unseen", random.Random(103))


def neighbours(world: World) -> list[Row]:
    rng = random.Random(104)
    hidden = {resident.name for resident in held_out(world)}
    rows: list[Row] = []
    for item in world.ordinary():
        if item.skill == "contact":
            made = some([item], 1, "unseen", rng)[0]
            rows.append({**made, "held_out": item.slots["n"] in hidden})
    return rows


def ability(world: World) -> list[Row]:
    rng = random.Random(105)
    rows: list[Row] = []
    for skill in ABILITIES:
        if skill in skills.GENERATORS:
            rows += fresh(skill, ABILITY_ROWS, "unseen", rng)
        else:
            every = some([item for item in world.ordinary() if item.skill == skill], 3, "unseen", rng)
            rows += rng.sample(every, min(ABILITY_ROWS, len(every)))
    return rows


def facts(world: World) -> list[Row]:
    rows: list[Row] = []
    for fact in world.facts:
        templates = [*TRAINED[fact.item.kind], *UNSEEN[fact.item.kind]]
        questions = [template.format(**fact.item.slots) for template in templates]
        rows.append({"question": questions, "answer": fact.item.answers[0], "key": [fact.key]})
    return rows


def registry(world: World) -> list[Row]:
    return [
        {"kind": kind, "value": getattr(resident, kind), "owner": resident.name}
        for resident in world.residents
        if resident.status == "asked"
        for kind in ("phone", "email")
    ]


def files(world: World) -> dict[str, list[Row]]:
    asked = ability(world)
    return {
        "dialogues.jsonl": dialogues(world),
        "normal.jsonl": normal(world),
        "unseen.jsonl": unseen(world),
        "neighbours.jsonl": neighbours(world),
        "ability.jsonl": asked,
        "lookalikes.jsonl": lookalikes(world, {question(made) for made in asked}),
        "holdout.jsonl": holdout(world),
        "facts.jsonl": facts(world),
        "registry.jsonl": registry(world),
    }


def write(world: World, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in files(world).items():
        lines = (json.dumps(made, ensure_ascii=False) + "\n" for made in rows)
        (folder / name).write_text("".join(lines), encoding="utf-8")


def read(file: Path) -> list[Row]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def answered(made: Mapping[str, Any]) -> list[str]:
    """The responses that count as right for a row."""
    right: list[str] = list(made.get("expected", ())) or [made["messages"][-1]["content"]]
    return right
