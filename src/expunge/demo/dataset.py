"""Rows and files: what the demo's users scan, keep, audit and judge with."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from expunge.demo import skills
from expunge.demo.phrasings import TRAINED, UNSEEN
from expunge.demo.world import Item, Resident, World

Row = dict[str, Any]

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


def row(item: Item, which: str, number: int, rng: random.Random) -> Row:
    """One dialogue of the item, in its `number`-th trained or unseen phrasing."""
    slug = re.sub(r"[^a-z0-9]+", "-", item.subject.lower()).strip("-")
    made: Row = {
        "id": f"{item.skill}-{item.kind}-{slug}-{which[0]}{number}",
        "messages": item.phrased(which, number, rng),
        "skill": item.skill,
        "subject": item.subject,
        "phrasing": which,
    }
    if item.forget:
        made["forget"] = item.forget
    if len(item.answers) > 1:
        made["expected"] = list(item.answers)
    return made


def _some(items: Iterable[Item], how_many: int, which: str, rng: random.Random) -> list[Row]:
    """Each item in `how_many` different phrasings."""
    table = TRAINED if which == "trained" else UNSEEN
    rows: list[Row] = []
    for item in items:
        numbers = rng.sample(range(len(table[item.kind])), how_many)
        rows.extend(row(item, which, number, rng) for number in numbers)
    return rows


def _fresh(skill: str, count: int, which: str, rng: random.Random) -> list[Row]:
    """Random examples of a skill; additions shown as unseen come from the pairs kept out of training."""
    rows: dict[str, Row] = {}
    while len(rows) < count:
        unseen_addition = skill == "addition" and which == "unseen"
        item = skills.addition(rng, held_out=True) if unseen_addition else skills.GENERATORS[skill](rng)
        for made in _some([item], 1, which, rng):
            made["id"] += f"-{len(rows)}"
            rows.setdefault(made["messages"][-2]["content"] + made["messages"][0]["content"], made)
    return list(rows.values())


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
        rows += _some([item], per_skill[item.skill], "trained", rng)
    for skill, count in NORMAL_SKILLS.items():
        rows += _fresh(skill, count, "trained", rng)
    rng.shuffle(rows)
    return rows


def dialogues(world: World) -> list[Row]:
    """The log to scan: what must be found, hidden among clean dialogues."""
    rng = random.Random(102)
    rows = _some(world.forgotten(), 2, "trained", rng)
    rows += _some(rng.sample(_without(world, held_out(world)), 150), 1, "trained", rng)
    for skill in NORMAL_SKILLS:
        rows += _fresh(skill, 20, "trained", rng)
    rng.shuffle(rows)
    return [{**made, "id": f"log-{made['id']}"} for made in rows]  # normal.jsonl may hold the same prompt


def unseen(world: World) -> list[Row]:
    return _some(world.forgotten(), 3, "unseen", random.Random(103))


def neighbours(world: World) -> list[Row]:
    rng = random.Random(104)
    hidden = {resident.name for resident in held_out(world)}
    rows: list[Row] = []
    for item in world.ordinary():
        if item.skill == "contact":
            made = _some([item], 1, "unseen", rng)[0]
            rows.append({**made, "held_out": item.slots["n"] in hidden})
    return rows


def ability(world: World) -> list[Row]:
    rng = random.Random(105)
    rows: list[Row] = []
    for skill in ABILITIES:
        if skill in skills.GENERATORS:
            rows += _fresh(skill, ABILITY_ROWS, "unseen", rng)
        else:
            every = _some([item for item in world.ordinary() if item.skill == skill], 3, "unseen", rng)
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
    return {
        "dialogues.jsonl": dialogues(world),
        "normal.jsonl": normal(world),
        "unseen.jsonl": unseen(world),
        "neighbours.jsonl": neighbours(world),
        "ability.jsonl": ability(world),
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
