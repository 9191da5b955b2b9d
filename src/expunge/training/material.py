"""What a training reads, encoded once; and which rows of it make up a step."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from expunge.dialogue import Dialogue
from expunge.encoding import ChatFormat, Encoded
from expunge.errors import InputError
from expunge.judges.verdict import Judged
from expunge.selection import Split
from expunge.training.config import UnlearnConfig
from expunge.training.form import Form

Mean = tuple[tuple[tuple[int, float], ...], ...]
"""Along one member of a cluster: for each response token, (token, share) of all members that begin as it does."""

NAMED = 20
"""Dialogues that cannot be read, so many of which a message names."""

NEAR = 0.45
"""Share of a step's normal rows that are neighbours of the forget set."""


@dataclass(frozen=True, slots=True)
class Material:
    """Encoded rows. forget[i]: the undesirable response; expected[i]: the members of its cluster; means[i]: the
    cluster's mean along each of them. beside: to the place in `normal` of an answer right away, that of the thought
    and the answer to the same question. never_seen: rows like the forget rows that the model was not trained on.

    Not at fault is a token that an expected output shares with the undesirable response, after the same tokens (the "1"
    of a wrong "1921" is right where "1874" is expected), nor one that follows from the form of normal responses alone.
    """

    forget: tuple[Encoded, ...]
    expected: tuple[tuple[Encoded, ...], ...]
    means: tuple[tuple[Mean, ...], ...]
    normal: tuple[Encoded, ...]
    neighbours: tuple[int, ...]
    beside: Mapping[int, int] = field(default_factory=dict)
    never_seen: tuple[Encoded, ...] = ()

    @classmethod
    def of(cls, chat: ChatFormat, parts: Split) -> Material:
        """Encode all rows; the forget set's dialogues hold their expected outputs.

        Raises:
            InputError: dialogues longer than the model's context, or one expected to say what is to be forgotten.
        """
        _check_readable(chat, (*(j.dialogue for j in parts.forget), *parts.normal, *parts.never_seen))

        def outputs(dialogue: Dialogue, texts: Sequence[str]) -> tuple[Encoded, ...]:
            if dialogue.thinks:  # what it is to think it is to answer then
                return tuple(chat.encode_whole(dialogue.after(text).answered(text)) for text in texts)
            return tuple(chat.encode(dialogue.answered(text)) for text in texts)

        wanted = [outputs(j.dialogue, j.expected) for j in parts.forget]
        normal = tuple(chat.encode_whole(d) for d in parts.normal)
        form = Form(normal)
        return cls(
            forget=tuple(_at_fault(chat, j, rows, form) for j, rows in zip(parts.forget, wanted, strict=True)),
            expected=tuple(wanted),
            means=tuple(cluster_mean(rows) for rows in wanted),
            normal=normal,
            neighbours=parts.neighbours,
            beside=_beside(parts.normal),
            never_seen=tuple(chat.encode(d) for d in parts.never_seen),
        )


def _beside(normal: Sequence[Dialogue]) -> dict[int, int]:
    thoughtful = {d.asked: i for i, d in enumerate(normal) if d.thought}
    return {i: thoughtful[d.asked] for i, d in enumerate(normal) if not d.thought and d.asked in thoughtful}


def _check_readable(chat: ChatFormat, dialogues: Iterable[Dialogue]) -> None:
    """Raises: InputError: the model cannot read some of the dialogues; all of these are named at once."""
    faults, places = list[InputError](), list[str]()
    for dialogue in dialogues:
        try:
            chat.encode(dialogue)
        except InputError as error:
            faults.append(error)
            places.append(dialogue.place)
    if len(faults) > 1:
        rest = f"{', '.join(places[1:NAMED])}{', …' if len(places) > NAMED else ''}"
        fault = f"{faults[0].message}. The model cannot read {len(faults) - 1} more: {rest}"
        raise InputError(fault, remedy=f"{faults[0].remedy} `expunge scan --set-aside` leaves such rows out.")
    if faults:
        raise faults[0]


def _at_fault(chat: ChatFormat, item: Judged, expected: Sequence[Encoded], form: Form) -> Encoded:
    row = chat.encode(item.dialogue, item.spans)
    shared = max(_shared(row.response, other.response) for other in expected)
    wrong = tuple(bad and i >= shared for i, bad in enumerate(row.fault))
    if not any(wrong):
        source = item.dialogue.source or f"dialogue {item.dialogue.id}"
        remedy = "Correct its expected output, or its verdict."
        raise InputError(f"{source}: its expected output says what is to be forgotten", remedy=remedy)
    telling = tuple(bad and not given for bad, given in zip(wrong, form.given(row), strict=True))
    return replace(row, fault=telling if any(telling) else wrong)


def _shared(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the common beginning."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def cluster_mean(members: Sequence[Encoded]) -> tuple[Mean, ...]:
    """The mean of the members as distributions over texts, along each member (p̄ in `objective.cluster_mean_loss`)."""
    following: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    for row in members:
        for i, token in enumerate(row.response):
            following[row.response[:i]][token] += 1

    def at(beginning: tuple[int, ...]) -> tuple[tuple[int, float], ...]:
        counts = following[beginning]
        return tuple((token, count / counts.total()) for token, count in sorted(counts.items()))

    return tuple(tuple(at(row.response[:i]) for i in range(len(row.response))) for row in members)


@dataclass(frozen=True, slots=True)
class Step:
    """Rows of one step: places in `forget`, the member of `expected` taught to each, and places in `normal`.

    pushed: those of the forget rows whose undesirable response is pushed away; the others are there already.
    """

    forget: tuple[int, ...]
    members: tuple[int, ...]
    pushed: tuple[int, ...]
    normal: tuple[int, ...]

    def part(self, number: int, parts: int) -> Step:
        """Every `parts`-th row, from `number` on: the parts together are the step."""
        return Step(*(rows[number::parts] for rows in (self.forget, self.members, self.pushed, self.normal)))


def plan_step(
    step: int,
    since: int,
    active: Sequence[int],
    known: Collection[int],
    material: Material,
    config: UnlearnConfig,
) -> Step:
    """The rows of step `step` (0-based), a pure function of its arguments: a resumed run plans the same steps.

    The active rows are gone through in passes, each in an order of its own, counted from step `since`, when the active
    set last changed. Once most rows are not, half of the places (more, where fewer are active) go to rehearsing those,
    so that what has been forgotten does not come back meanwhile. Only rows in `known` are pushed away from; the members
    of a cluster are taught in turn. NEAR of the normal rows are neighbours, where there are any; the others go through
    the rest. What is `beside` a row comes with it, and is not counted.
    """
    rows = config.forget_rows
    resting = sorted(set(range(len(material.forget))) - set(active))
    spare = min(max(rows - len(active), rows // 2 if len(resting) > len(active) else 0), len(resting))
    size = min(rows - spare, len(active))
    first = _cycle([config.seed, 1, since], (step - since) * size, size, len(active))
    places = [(active[i], turn) for i, turn in first]
    others = _cycle([config.seed, 4, since], (step - since) * spare, spare, len(resting))
    places += [(resting[i], turn) for i, turn in others]
    return Step(
        forget=tuple(row for row, _ in places),
        members=tuple((turn + row) % len(material.expected[row]) for row, turn in places),
        pushed=tuple(row for row, _ in places if row in known),
        normal=_normal(step, config.normal_rows, material, config),
    )


def reachable_normal(material: Material, config: UnlearnConfig) -> set[int]:
    """The normal rows that any step can ask for."""
    if config.max_steps * config.normal_rows >= 4 * len(material.normal):
        return set(range(len(material.normal)))
    rows = range(len(material.forget))
    plans = (plan_step(n, 0, rows, (), material, config) for n in range(config.max_steps))
    return {i for step in plans for i in step.normal}


def _normal(step: int, count: int, material: Material, config: UnlearnConfig) -> tuple[int, ...]:
    led = set(material.beside.values())
    near = [i for i in material.neighbours if i not in led]
    far = sorted(set(range(len(material.normal))) - set(near) - led) or near
    part = round(count * NEAR) if near else 0
    close = _cycle([config.seed, 2], step * part, part, len(near))
    rest = _cycle([config.seed, 3], step * (count - part), count - part, len(far))
    rows = (*(near[i] for i, _ in close), *(far[i] for i, _ in rest))
    return (*rows, *(material.beside[i] for i in rows if i in material.beside))


def _cycle(seed: Sequence[int], start: int, count: int, length: int) -> list[tuple[int, int]]:
    """`count` places from `start` on in an endless row of shuffled passes over range(length); each with its pass."""
    found: list[tuple[int, int]] = []
    while len(found) < count:
        turn, offset = divmod(start + len(found), length)
        order = np.random.default_rng([*seed, turn]).permutation(length)
        found.extend((int(i), turn) for i in order[offset : offset + count - len(found)])
    return found
