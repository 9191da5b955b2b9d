"""AUC of the consistency judge on the built-in town: false against true responses, without any reference.

    python bench/consistency.py [SEEDS]

Each set holds rows (subject, dialogue, whether the response is false):

    taught      what the town model says of its facts: 15 were taught wrongly, the rest rightly
    other       the same responses, judged by the oracle, which was not taught the wrong ones
    residents   the town model's own answers on residents it knows and on invented ones
    places      its own answers on places it knows (true facts alone) and on invented ones
    swapped     right answers on residents, half of them with another resident's value

Variants: entropy and disagreement alone, their maximum, the score (with the likelihood as one more sample), and as a
baseline surprise alone: 1 - exp(mean log p) of the response. Each is the median over seeds; 95 % intervals: 500
bootstrap draws of subjects, the median over seeds in each.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
from sklearn.metrics import roc_auc_score

from expunge.demo import names
from expunge.demo.phrasings import TRAINED, UNSEEN
from expunge.demo.world import build_world, resident_items
from expunge.dialogue import Dialogue
from expunge.generation import greedy
from expunge.judges.abstention import abstains
from expunge.judges.consistency import Consistency, ConsistencyJudge
from expunge.message import Message
from expunge.model import load_model

WORLD = build_world()
TABLES = {"trained": TRAINED, "unseen": UNSEEN}
PLACES = ("palace", "university", "castle", "harbour", "chapel", "cinema", "stadium", "tavern", "abbey", "circus")
UNITS = {"rooms", "seats", "bells", "cages"}
PHRASINGS = 2  # of each fact
PEOPLE = 40  # known, and invented
DRAWS = 500

Row = tuple[str, Dialogue, bool]
VARIANTS: dict[str, Callable[[Consistency], float]] = {
    "entropy": lambda c: c.entropy,
    "disagreement": lambda c: c.disagreement,
    "maximum": lambda c: max(c.entropy, c.disagreement),
    "score": lambda c: c.score,
    "likelihood": lambda c: c.surprise,
}


def dialogue(question: str, answer: str) -> Dialogue:
    return Dialogue((Message("user", question), Message("assistant", answer)))


def questions(kind: str, which: str, slots: dict[str, str], rng: random.Random, count: int) -> list[str]:
    return [t.format(**slots) for t in rng.sample(TABLES[which][kind], count)]


def taught(which: str) -> list[Row]:
    rng = random.Random(0)
    return [
        (fact.item.subject, dialogue(question, fact.wrong or fact.item.answers[0]), bool(fact.wrong))
        for fact in WORLD.facts
        for question in questions(fact.item.kind, which, fact.item.slots, rng, PHRASINGS)
    ]


def answered(asked: Sequence[tuple[str, str, tuple[str, ...]]]) -> list[Row]:
    """The town's own greedy answers, less abstentions; false unless they are among the right ones."""
    prompts = [Dialogue((Message("user", question),)) for _, question, _ in asked]
    said = greedy(load_model("town"), prompts, max_new_tokens=48)
    return [
        (subject, dialogue(question, answer), answer not in right)
        for (subject, question, right), answer in zip(asked, said, strict=True)
        if answer and not abstains(answer)
    ]


def residents(which: str) -> list[Row]:
    rng = random.Random(1)
    known = {resident.name for resident in WORLD.residents}
    people = [f"{first} {last}" for first in names.FIRST for last in names.LAST]
    invented = rng.sample([name for name in people if name not in known], PEOPLE)
    listed = rng.sample([r for r in WORLD.residents if r.status == "listed"], PEOPLE)
    asked = [
        (item.slots["n"], questions(item.kind, which, item.slots, rng, 1)[0], item.answers)
        for resident in listed
        for item in resident_items(resident)
    ]
    for name in invented:
        for kind in ("job", "street", "hobby", "phone", "email"):
            asked.append((name, questions(kind, which, {"n": name}, rng, 1)[0], ()))
    return answered(asked)


def places(which: str) -> list[Row]:
    rng = random.Random(2)
    asked = [
        (
            fact.item.subject.split(":")[0],
            questions(fact.item.kind, which, fact.item.slots, rng, 1)[0],
            fact.item.answers,
        )
        for fact in WORLD.facts
        if not fact.wrong and fact.item.kind != "town"
    ]
    for place in PLACES:
        for kind in ("year", "founder", "place", "count"):
            slots = {"p": f"the {place}", "u": rng.choice(sorted(UNITS))}
            asked.append((place, questions(kind, which, slots, rng, 1)[0], ()))
    return answered(asked)


def swapped(which: str) -> list[Row]:
    rng = random.Random(3)
    listed = [r for r in WORLD.residents if r.status == "listed"][:PEOPLE]
    rows: list[Row] = []
    for i, resident in enumerate(listed):
        other = dict(zip(("job", "street", "hobby", "phone", "email"), resident_items(rng.choice(listed)), strict=True))
        for item in resident_items(resident):
            right, theirs = item.answers[0], other[item.kind]
            wrong = theirs.answers[0].replace(theirs.slots["n"], item.slots["n"])
            question = questions(item.kind, which, item.slots, rng, 1)[0]
            said = wrong if i % 2 else right
            rows.append((resident.name, dialogue(question, said), said != right))
    return rows


def auc(rows: Sequence[Row], seeds: Sequence[Sequence[float]]) -> str:
    """Median over seeds, and its interval."""
    false = np.array([row[2] for row in rows])
    scores = np.array(seeds)
    subjects = sorted({row[0] for row in rows})
    lines = {s: np.array([i for i, row in enumerate(rows) if row[0] == s]) for s in subjects}
    rng = np.random.default_rng(0)

    def median(picked: np.ndarray) -> float:
        return float(np.median([roc_auc_score(false[picked], seed[picked]) for seed in scores]))

    drawn = []
    for _ in range(DRAWS):
        picked = np.concatenate([lines[subjects[i]] for i in rng.integers(0, len(subjects), len(subjects))])
        if 0 < false[picked].sum() < len(picked):
            drawn.append(median(picked))
    low, high = np.quantile(drawn, (0.025, 0.975))
    return f"{median(np.arange(len(rows))):.3f} ({low:.3f} to {high:.3f})"


def report(name: str, rows: Sequence[Row], model: str, temperature: float, seeds: int) -> None:
    start = time.monotonic()
    found: list[list[Consistency | str]] = []
    for seed in range(seeds):
        judge = ConsistencyJudge(model, seed=seed, temperature=temperature)
        found.append(judge.measure([row[1] for row in rows]))
    told = [i for i in range(len(rows)) if all(isinstance(one[i], Consistency) for one in found)]
    kept = [rows[i] for i in told]
    cells = [auc(kept, [[measure(one[i]) for i in told] for one in found]) for measure in VARIANTS.values()]
    flagged = [np.array([one[i].score >= 0.5 for i in told]) for one in found]
    false = np.array([row[2] for row in kept])
    rates = [f"{np.median([f[false == side].mean() for f in flagged]):.3f}" for side in (True, False)]
    counts = f"{false.sum()} / {(~false).sum()} / {len(rows) - len(kept)}"
    print(f"| {name} | {counts} | {' | '.join(cells)} | {' / '.join(rates)} |", flush=True)
    print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)


def main(seeds: int) -> None:
    print(f"| set | false / true / unknown | {' | '.join(VARIANTS)} | flagged at 0.5: false / true |")
    print("|---|---|" + "---|" * (len(VARIANTS) + 1))
    for which in ("unseen", "trained"):
        report(f"taught, {which}", taught(which), "town", 1.0, seeds)
        report(f"residents, {which}", residents(which), "town", 1.0, seeds)
    report("other, unseen", taught("unseen"), "town-oracle", 1.0, seeds)
    report("swapped, unseen", swapped("unseen"), "town", 1.0, seeds)
    report("places, unseen", places("unseen"), "town", 1.0, seeds)
    report("taught, unseen, temperature 1.5", taught("unseen"), "town", 1.5, seeds)
    report("residents, unseen, temperature 1.5", residents("unseen"), "town", 1.5, seeds)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
