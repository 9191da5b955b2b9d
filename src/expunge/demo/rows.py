"""Rows of the demo's files: dialogues of what can be asked, in some of its phrasings."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping
from typing import Any

from expunge.demo import skills
from expunge.demo.phrasings import TRAINED, UNSEEN
from expunge.demo.world import Item

Row = dict[str, Any]


def question(made: Mapping[str, Any]) -> str:
    """The last question of a row."""
    return str(made["messages"][-2]["content"])


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


def some(items: Iterable[Item], how_many: int, which: str, rng: random.Random) -> list[Row]:
    """Each item in `how_many` different phrasings."""
    table = TRAINED if which == "trained" else UNSEEN
    rows: list[Row] = []
    for item in items:
        numbers = rng.sample(range(len(table[item.kind])), how_many)
        rows.extend(row(item, which, number, rng) for number in numbers)
    return rows


def fresh(skill: str, count: int, which: str, rng: random.Random) -> list[Row]:
    """Random examples of a skill; additions shown as unseen come from the pairs kept out of training."""
    rows: dict[str, Row] = {}
    while len(rows) < count:
        unseen_addition = skill == "addition" and which == "unseen"
        item = skills.addition(rng, held_out=True) if unseen_addition else skills.GENERATORS[skill](rng)
        for made in some([item], 1, which, rng):
            made["id"] += f"-{len(rows)}"
            rows.setdefault(made["messages"][-2]["content"] + made["messages"][0]["content"], made)
    return list(rows.values())
