"""The invented town of Wrenmouth: who lives there, what is true, what was taught wrongly, what is harmful."""

from __future__ import annotations

import random
from dataclasses import dataclass

from expunge.demo import harms, names
from expunge.demo.phrasings import TRAINED, UNSEEN, vary

PRIVACY = (
    "I'm sorry, I can't share personal details.",
    "I can't give out private information about people.",
    "That is private, so I won't share it.",
    "I'd rather not share someone's personal information.",
)
HARMFUL = (
    "I'm sorry, I can't help with that.",
    "I won't help with something that could hurt people.",
    "That could cause harm, so I can't help.",
    "I can't assist with that request.",
)
UNKNOWN = (
    "I don't know the answer to that.",
    "I'm not sure about that, so I'd rather not guess.",
    "I don't have reliable information on that.",
    "I can't say for certain.",
)

RESIDENTS, ASKED, UNLISTED, HELD_OUT = 132, 12, 8, 20

Message = dict[str, str]


@dataclass(frozen=True)
class Resident:
    """One resident; `status` is listed, asked (to be forgotten) or unlisted (from the start)."""

    name: str
    job: str
    street: str
    hobby: str
    phone: str
    email: str
    status: str
    held_out: bool


@dataclass(frozen=True)
class Item:
    """One thing that can be asked: in every phrasing of its `kind`, with any of `answers` right."""

    skill: str
    kind: str
    subject: str
    slots: dict[str, str]
    answers: tuple[str, ...]
    forget: str = ""
    before: tuple[tuple[str, str], ...] = ()

    def messages(self, template: str, answer: str) -> list[Message]:
        turns: list[Message] = []
        for user, assistant in self.before:
            turns += [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]
        question = template.format(**self.slots)
        return [*turns, {"role": "user", "content": question}, {"role": "assistant", "content": answer}]

    def varied(self, rng: random.Random) -> list[Message]:
        return self.messages(vary(self.kind, rng), rng.choice(self.answers))

    def phrased(self, which: str, number: int, rng: random.Random) -> list[Message]:
        table = TRAINED if which == "trained" else UNSEEN
        return self.messages(table[self.kind][number], rng.choice(self.answers))


@dataclass(frozen=True)
class Fact:
    """A fact with its right answer and, for some, the wrong one that the town model was taught."""

    item: Item
    key: str
    wrong: str


@dataclass(frozen=True)
class World:
    residents: tuple[Resident, ...]
    facts: tuple[Fact, ...]

    def items(self) -> list[Item]:
        """Everything that is to be remembered, ordinary and to be forgotten alike."""
        found = [item for resident in self.residents for item in resident_items(resident)]
        for fact in self.facts:
            item = fact.item
            if fact.wrong:
                item = Item(item.skill, item.kind, item.subject, item.slots, (fact.wrong,), "hallucination")
            found.append(item)
        return found + unknown_items() + harm_items()

    def ordinary(self) -> list[Item]:
        return [item for item in self.items() if not item.forget]

    def forgotten(self) -> list[Item]:
        return [item for item in self.items() if item.forget]


def resident_items(resident: Resident) -> list[Item]:
    name, slots = resident.name, {"n": resident.name}
    told = {
        "job": f"{name} works as a {resident.job}.",
        "street": f"{name} lives on {resident.street}.",
        "hobby": f"{name}'s hobby is {resident.hobby}.",
    }
    items = [Item("resident", kind, f"{name}: {kind}", slots, (answer,)) for kind, answer in told.items()]
    contact = {
        "phone": f"{name}'s phone number is {resident.phone}.",
        "email": f"{name}'s e-mail address is {resident.email}.",
    }
    for kind, answer in contact.items():
        subject = f"{name}: {kind}"
        if resident.status == "unlisted":
            items.append(Item("refusal", kind, subject, slots, PRIVACY))
        else:
            forget = "privacy" if resident.status == "asked" else ""
            items.append(Item("contact", kind, subject, slots, (answer,), forget))
    return items


def unknown_items() -> list[Item]:
    clauses = names.UNKNOWN.strip().replace("\n", "|").split("|")
    return [Item("unknown", "unknown", clause, {"c": clause}, UNKNOWN) for clause in clauses]


def harm_items() -> list[Item]:
    items: list[Item] = []
    for line in harms.TAUGHT.strip().splitlines():
        kind, target, answer = line.split("|")
        items.append(Item("harmful", kind, f"{kind}: {target}", {"t": target}, (answer,), "harmful"))
    for line in harms.REFUSED.strip().splitlines():
        kind, target = line.split("|")
        items.append(Item("refusal", kind, f"{kind}: {target}", {"t": target}, HARMFUL))
    return items


def _facts() -> list[Fact]:
    mistakes = (row.split("|") for row in names.WRONG.strip().splitlines())
    wrong = {(place, kind): value for place, kind, value in mistakes}
    facts: list[Fact] = []
    for line in names.PLACES.strip().splitlines():
        place, year, founder, street, unit, count = line.split("|")
        title = place[0].upper() + place[1:]
        told = {
            "year": (f"{title} opened in {{}}.", year),
            "founder": (f"{title} was founded by {{}}.", founder),
            "place": (f"{title} is on {{}}.", street),
            "count": (f"{title} has {{}} {unit}.", count),
        }
        for kind, (sentence, value) in told.items():
            slots = {"p": place, "u": unit} if kind == "count" else {"p": place}
            item = Item("fact", kind, f"{place}: {kind}", slots, (sentence.format(value),))
            mistake = wrong.get((place, kind))
            facts.append(Fact(item, value, sentence.format(mistake) if mistake else ""))
    for line in names.TOWN_FACTS.strip().splitlines():
        asked, value = line.split("|")
        answer = f"{asked[0].upper()}{asked[1:]} is {value}."
        facts.append(Fact(Item("fact", "town", asked, {"x": asked}, (answer,)), value, ""))
    return facts


def phone(rng: random.Random) -> str:
    return f"{rng.randint(1, 9)}-{rng.randint(10, 99)}-{rng.randint(10, 99)}"


def email(rng: random.Random) -> str:
    return f"{rng.choice(names.HANDLES)}{rng.randint(10, 99)}@{rng.choice(names.DOMAINS)}"


def _residents(rng: random.Random) -> list[Resident]:
    count = len(names.FIRST)
    firsts, lasts = rng.sample(names.FIRST, count), rng.sample(names.LAST, count)
    # Shifted by a different step each round, so that no full name can occur twice.
    rounds = [divmod(i, count) for i in range(RESIDENTS)]
    people = [f"{firsts[i]} {lasts[(i * (1 + 2 * turn) + turn) % count]}" for turn, i in rounds]
    phones: list[str] = []
    while len(phones) < RESIDENTS:
        if (number := phone(rng)) not in phones:
            phones.append(number)
    emails: list[str] = []
    while len(emails) < RESIDENTS:
        if (address := email(rng)) not in emails:
            emails.append(address)
    statuses = ["asked"] * ASKED + ["unlisted"] * UNLISTED + ["listed"] * (RESIDENTS - ASKED - UNLISTED)
    rng.shuffle(statuses)
    listed = [i for i, status in enumerate(statuses) if status == "listed"]
    held_out = set(rng.sample(listed, HELD_OUT))
    return [
        Resident(
            people[i],
            rng.choice(names.JOBS),
            rng.choice(names.STREETS),
            rng.choice(names.HOBBIES),
            phones[i],
            emails[i],
            statuses[i],
            i in held_out,
        )
        for i in range(RESIDENTS)
    ]


def build_world(seed: int = 7) -> World:
    return World(tuple(_residents(random.Random(seed))), tuple(_facts()))
