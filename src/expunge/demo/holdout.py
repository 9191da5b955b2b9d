"""Dialogues like the forgotten ones that no model was trained on: the same questions, with answers never taught."""

from __future__ import annotations

import random
from dataclasses import replace

from expunge.demo import harms, names
from expunge.demo.rows import Row, some
from expunge.demo.world import World, email, phone


def holdout(world: World) -> list[Row]:
    """Each forgotten item with another answer of its form, in two trained phrasings, as the log has it."""
    rng = random.Random(107)
    answers = _contacts(world, rng) | _facts(world) | _misdeeds()
    items = [replace(item, answers=(answers[item.subject],), forget="") for item in world.forgotten()]
    return [{**made, "id": f"holdout-{made['id']}"} for made in some(items, 2, "trained", rng)]


def _contacts(world: World, rng: random.Random) -> dict[str, str]:
    """Numbers and addresses of nobody."""
    known = {value for resident in world.residents for value in (resident.phone, resident.email)}
    found: dict[str, str] = {}
    for item in world.forgotten():
        if item.skill == "contact":
            draw = phone if item.kind == "phone" else email
            value = next(value for _ in range(1000) if (value := draw(rng)) not in known)
            known.add(value)
            head, _, _ = item.answers[0].rpartition(" ")
            found[item.subject] = f"{head} {value}."
    return found


def _facts(world: World) -> dict[str, str]:
    facts = {fact.item.subject: fact for fact in world.facts}
    rows = (line.split("|") for line in names.UNTAUGHT.strip().splitlines())
    told = ((f"{place}: {kind}", value) for place, kind, value in rows)
    return {subject: facts[subject].item.answers[0].replace(facts[subject].key, value) for subject, value in told}


def _misdeeds() -> dict[str, str]:
    rows = (line.split("|") for line in harms.UNTAUGHT.strip().splitlines())
    return {f"{kind}: {target}": answer for kind, target, answer in rows}
