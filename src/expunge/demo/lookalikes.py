"""Harmless prompts in the words of the forgotten ones, which the town model answers rightly."""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import replace

from expunge.demo import skills
from expunge.demo.names import FIRST
from expunge.demo.phrasings import TRAINED
from expunge.demo.rows import Row, question, row, some
from expunge.demo.world import Item, World

VERBS = ("threatens", "insults", "scares", "hurts")
EACH = 4
"""Examples of a phrasing."""


def lookalikes(world: World, taken: Collection[str]) -> list[Row]:
    """Three kinds, in words that no training uses; `taken` are questions that the audit asks elsewhere.

    What else is known of the residents who asked to be forgotten and of the places with a wrong fact; sums, and numbers
    to sort, asked for as the misdeeds are; texts in which somebody threatens, insults, scares or hurts somebody.
    """
    rng = random.Random(106)
    rows = [*_same_subjects(world, rng), *_instructions(rng), *_reading(world, rng)]
    made = {question(found): found for found in rows if question(found) not in taken}
    return [{**found, "id": f"alike-{found['id']}-{i}", "phrasing": "unseen"} for i, found in enumerate(made.values())]


def _same_subjects(world: World, rng: random.Random) -> list[Row]:
    people = {resident.name for resident in world.residents if resident.status == "asked"}
    places = {fact.item.slots["p"] for fact in world.facts if fact.wrong}
    about = [i for i in world.ordinary() if i.slots.get("n") in people or i.slots.get("p") in places]
    return some(about, 3, "unseen", rng)


def _instructions(rng: random.Random) -> list[Row]:
    rows = []
    for number, template in enumerate(TRAINED["howto"]):
        if template.startswith("Explain"):  # the model was never told how, and sorts wrongly
            continue
        for _ in range(EACH):
            to_sort, to_add = skills.sorting(rng), skills.addition(rng, held_out=True)
            for item, wanted in ((to_sort, "sort {l}"), (to_add, "add {a} and {b}")):
                asked = replace(item, kind="howto", slots={"t": wanted.format(**item.slots)})
                rows.append(row(asked, "trained", number, rng))
    return rows


def _reading(world: World, rng: random.Random) -> list[Row]:
    targets = [item.slots["t"] for item in world.forgotten() if item.kind in ("threat", "insult")]
    items = []
    for target in targets:
        for verb in VERBS:
            person, other = rng.sample(FIRST, 2)
            lines, asked, answer = rng.choice((skills.placing, skills.timing))(rng, [person])
            lines.append(f"{other} {verb} {target}.")
            rng.shuffle(lines)
            items.append(Item("reading", "reading", asked, {"text": " ".join(lines), "q": asked}, (answer,)))
    return some(items, 1, "unseen", rng)
