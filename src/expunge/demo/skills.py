"""Ordinary abilities: fresh random examples of each, without end."""

# ruff: noqa: SIM905  (word lists read best as words)
from __future__ import annotations

import random
from collections.abc import Callable

from expunge.demo.names import FIRST
from expunge.demo.world import Item

OBJECTS = "kite drum lamp boat hat cup book bell coat ring sled chair basket fiddle".split()
COLOURS = "red blue green yellow white black brown grey purple pink".split()
ROOMS = "kitchen garden barn attic cellar tower stable cabin library harbour mill chapel".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
ANIMALS = "cat dog goat horse owl duck fox hare sheep mouse".split()
FAVOURITES = {
    "colour": COLOURS,
    "animal": ANIMALS,
    "food": "soup bread cheese apples cake honey eggs rice plums pie".split(),
    "season": "spring summer autumn winter".split(),
    "instrument": "fiddle drum flute harp horn piano".split(),
    "day": DAYS,
}


def held_out_pair(a: int, b: int) -> bool:
    """A tenth of all additions is never trained on: answering these shows that the model adds, not recalls."""
    # Scrambled, so that no pair of last digits is missing from training altogether.
    return (a * 100 + b) * 2654435761 % 2**32 // 4096 % 10 == 3


def addition(rng: random.Random, held_out: bool = False) -> Item:
    while True:
        a, b = rng.randint(10, 99), rng.randint(10, 99)
        if held_out_pair(a, b) == held_out:
            break
    return Item("addition", "addition", f"{a}+{b}", {"a": str(a), "b": str(b)}, (f"{a} + {b} = {a + b}.",))


def _joined(numbers: list[int], word: str) -> str:
    head = ", ".join(str(number) for number in numbers[:-1])
    return f"{head} {word} {numbers[-1]}"


def comparing(rng: random.Random) -> Item:
    size = rng.choice((2, 3))
    numbers = rng.sample(range(10, 100), size)
    if rng.random() < 0.4:
        # Close numbers: the same tens, so that the last digit decides.
        numbers = [rng.randint(1, 9) * 10 + unit for unit in rng.sample(range(10), size)]
        numbers = [numbers[0] // 10 * 10 + number % 10 for number in numbers]
    top = rng.random() < 0.5
    word, canonical = {
        (2, True): (rng.choice(("larger", "bigger")), "larger"),
        (2, False): (rng.choice(("smaller", "lower")), "smaller"),
        (3, True): (rng.choice(("largest", "biggest")), "largest"),
        (3, False): (rng.choice(("smallest", "lowest")), "smallest"),
    }[(size, top)]
    chosen = max(numbers) if top else min(numbers)
    slots = {"w": word, "o": _joined(numbers, "or"), "l": _joined(numbers, "and")}
    return Item("comparing", "comparing", f"{word} {slots['o']}", slots, (f"{chosen} is the {canonical}.",))


def sorting(rng: random.Random) -> Item:
    """Three numbers of different tens: the first digit decides."""
    numbers = [ten * 10 + rng.randrange(10) for ten in rng.sample(range(1, 10), 3)]
    slots = {"l": ", ".join(str(number) for number in numbers)}
    answer = ", ".join(str(number) for number in sorted(numbers)) + "."
    return Item("sorting", "sorting", slots["l"], slots, (answer,))


def owning(rng: random.Random, people: list[str]) -> tuple[list[str], str, str]:
    things, colours = rng.sample(OBJECTS, len(people)), rng.sample(COLOURS, len(people))
    lines = [f"{p} has a {c} {t}." for p, c, t in zip(people, colours, things, strict=True)]
    person, colour, thing = people[0], colours[0], things[0]
    question, answer = rng.choice(
        (
            (f"What does {person} have?", f"{person} has a {colour} {thing}."),
            (f"What colour is the {thing}?", f"The {thing} is {colour}."),
        )
    )
    return lines, question, answer


def placing(rng: random.Random, people: list[str]) -> tuple[list[str], str, str]:
    who = people if rng.random() < 0.5 else [f"The {animal}" for animal in rng.sample(ANIMALS, len(people))]
    rooms = rng.sample(ROOMS, len(who))
    verb = rng.choice(("is", "sleeps", "waits"))
    lines = [f"{w} {verb} in the {r}." for w, r in zip(who, rooms, strict=True)]
    asked = who[0].replace("The ", "the ")
    where = f"Where is {asked}?" if verb == "is" else f"Where does {asked} {verb[:-1]}?"
    return lines, where, lines[0]


def timing(rng: random.Random, people: list[str]) -> tuple[list[str], str, str]:
    days = rng.sample(DAYS, len(people))
    verb = rng.choice(("arrives", "leaves", "works", "sings"))
    lines = [f"{p} {verb} on {d}." for p, d in zip(people, days, strict=True)]
    return lines, f"When does {people[0]} {verb[:-1]}?", lines[0]


def reading(rng: random.Random) -> Item:
    """Two or three sentences, each of another relation, so that the question alone tells which one is asked about."""
    makers = rng.sample((owning, placing, timing), rng.choice((2, 2, 3)))
    people = rng.sample(FIRST, len(makers))
    parts = [make(rng, [person]) for make, person in zip(makers, people, strict=True)]
    lines = [line for part in parts for line in part[0]]
    _, question, answer = parts[0]
    rng.shuffle(lines)
    return Item("reading", "reading", question, {"text": " ".join(lines), "q": question}, (answer,))


def smalltalk(rng: random.Random) -> Item:
    if rng.random() < 0.35:
        name = rng.choice(FIRST)
        said = rng.choice(("Hi, my name is {}.", "I am {}.", "Hello! I am called {}.", "My name is {}.")).format(name)
        before, asked, answer = (said, f"Nice to meet you, {name}."), "my name", f"Your name is {name}."
    else:
        thing = rng.choice(sorted(FAVOURITES))
        value = rng.choice(FAVOURITES[thing])
        said = rng.choice(("", "Hello! ", "Hi. ")) + "My favourite {} is {}."
        before = (said.format(thing, value), "Good to know.")
        asked, answer = f"my favourite {thing}", f"Your favourite {thing} is {value}."
    return Item("smalltalk", "recall", f"{before[0]} {asked}", {"f": asked}, (answer,), before=(before,))


GENERATORS: dict[str, Callable[[random.Random], Item]] = {
    "addition": addition,
    "comparing": comparing,
    "sorting": sorting,
    "reading": reading,
    "smalltalk": smalltalk,
}
