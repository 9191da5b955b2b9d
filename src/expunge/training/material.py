"""What a training reads, encoded once; and which rows of it make up a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from expunge.dialogue import Dialogue
from expunge.encoding import ChatFormat, Encoded
from expunge.errors import InputError
from expunge.judges.verdict import Judged
from expunge.selection import Split
from expunge.training.config import UnlearnConfig
from expunge.training.form import Form


@dataclass(frozen=True, slots=True)
class Material:
    """Encoded rows. forget[i]: the undesirable response; expected[i]: the members of its cluster.

    Not at fault is a token that an expected output shares with the undesirable response, after the same tokens (the "1"
    of a wrong "1921" is right where "1874" is expected), nor one that follows from the form of normal responses alone.
    """

    forget: tuple[Encoded, ...]
    expected: tuple[tuple[Encoded, ...], ...]
    normal: tuple[Encoded, ...]
    neighbours: tuple[int, ...]

    @classmethod
    def of(cls, chat: ChatFormat, parts: Split) -> Material:
        """Encode all rows; the forget set's dialogues hold their expected outputs.

        Raises:
            InputError: a dialogue is longer than the model's context, or is expected to say what is to be forgotten.
        """

        def outputs(dialogue: Dialogue, texts: Sequence[str]) -> tuple[Encoded, ...]:
            return tuple(chat.encode(dialogue.answered(text)) for text in texts)

        wanted = [outputs(j.dialogue, j.expected) for j in parts.forget]
        normal = tuple(chat.encode(d) for d in parts.normal)
        form = Form(normal)
        return cls(
            forget=tuple(_at_fault(chat, j, rows, form) for j, rows in zip(parts.forget, wanted, strict=True)),
            expected=tuple(wanted),
            normal=normal,
            neighbours=parts.neighbours,
        )


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


@dataclass(frozen=True, slots=True)
class Step:
    """Rows of one step: places in `forget`, the member of `expected` taught to each, and places in `normal`."""

    forget: tuple[int, ...]
    members: tuple[int, ...]
    normal: tuple[int, ...]

    def part(self, number: int, parts: int) -> Step:
        """Every `parts`-th row, from `number` on: the parts together are the step."""
        return Step(self.forget[number::parts], self.members[number::parts], self.normal[number::parts])


def plan_step(
    step: int, since: int, active: Sequence[int], material: Material, config: UnlearnConfig, *, settling: bool = False
) -> Step:
    """The rows of step `step` (0-based), a pure function of its arguments: a resumed run plans the same steps.

    The active rows are gone through in passes, each in an order of its own, counted from step `since`, when the active
    set last changed. Where fewer are active than a step holds, the other forget rows are rehearsed in the places left,
    so that what has been forgotten does not come back meanwhile. The members of a cluster are taught in turn. Half of
    the normal rows are neighbours, where there are any, and the other half goes through all normal rows. While the
    model settles, two thirds of the places of forget rows go to normal ones.
    """
    rows = max(1, config.forget_rows // 3) if settling else config.forget_rows
    size = min(rows, len(active))
    first = _cycle([config.seed, 1, since], (step - since) * size, size, len(active))
    places = [(active[i], turn) for i, turn in first]
    resting = sorted(set(range(len(material.forget))) - set(active))
    spare = min(rows - size, len(resting))
    others = _cycle([config.seed, 4, since], (step - since) * spare, spare, len(resting))
    places += [(resting[i], turn) for i, turn in others]
    members = tuple((turn + row) % len(material.expected[row]) for row, turn in places)
    count = config.normal_rows + config.forget_rows - rows
    near = count // 2 if material.neighbours else 0
    close = _cycle([config.seed, 2], step * near, near, len(material.neighbours))
    rest = _cycle([config.seed, 3], step * (count - near), count - near, len(material.normal))
    normal = (*(material.neighbours[i] for i, _ in close), *(i for i, _ in rest))
    return Step(tuple(row for row, _ in places), members, normal)


def _cycle(seed: Sequence[int], start: int, count: int, length: int) -> list[tuple[int, int]]:
    """`count` places from `start` on in an endless row of shuffled passes over range(length); each with its pass."""
    found: list[tuple[int, int]] = []
    while len(found) < count:
        turn, offset = divmod(start + len(found), length)
        order = np.random.default_rng([*seed, turn]).permutation(length)
        found.extend((int(i), turn) for i in order[offset : offset + count - len(found)])
    return found
