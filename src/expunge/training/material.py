"""What a training reads, encoded once; and which rows of it make up a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from expunge.dialogue import Dialogue
from expunge.encoding import ChatFormat, Encoded
from expunge.selection import Split
from expunge.training.config import UnlearnConfig


@dataclass(frozen=True, slots=True)
class Material:
    """Encoded rows. forget[i]: the undesirable response; expected[i]: its cluster's members, outputs[i] as text."""

    forget: tuple[Encoded, ...]
    expected: tuple[tuple[Encoded, ...], ...]
    outputs: tuple[tuple[str, ...], ...]
    normal: tuple[Encoded, ...]
    neighbours: tuple[int, ...]

    @classmethod
    def of(cls, chat: ChatFormat, parts: Split, expected: Sequence[Sequence[str]]) -> Material:
        """Encode all rows.

        Raises:
            InputError: a dialogue is longer than the model's context.
        """

        def outputs(dialogue: Dialogue, texts: Sequence[str]) -> tuple[Encoded, ...]:
            return tuple(chat.encode(dialogue.answered(text)) for text in texts)

        return cls(
            forget=tuple(chat.encode(j.dialogue, j.spans) for j in parts.forget),
            expected=tuple(outputs(j.dialogue, texts) for j, texts in zip(parts.forget, expected, strict=True)),
            outputs=tuple(tuple(texts) for texts in expected),
            normal=tuple(chat.encode(d) for d in parts.normal),
            neighbours=parts.neighbours,
        )


@dataclass(frozen=True, slots=True)
class Step:
    """Rows of one step: places in `forget`, the member of `expected` taught to each, and places in `normal`."""

    forget: tuple[int, ...]
    members: tuple[int, ...]
    normal: tuple[int, ...]

    def part(self, number: int, parts: int) -> Step:
        """Every `parts`-th row, from `number` on: the parts together are the step."""
        return Step(self.forget[number::parts], self.members[number::parts], self.normal[number::parts])


def plan_step(step: int, since: int, active: Sequence[int], material: Material, config: UnlearnConfig) -> Step:
    """The rows of step `step` (0-based), a pure function of its arguments: a resumed run plans the same steps.

    The active rows are gone through in passes, each in an order of its own, counted from step `since`, when the active
    set last changed; the members of a cluster are taught in turn. Half of the normal rows are neighbours, where there
    are any, and the other half goes through all normal rows.
    """
    size = min(config.forget_rows, len(active))
    places = _cycle([config.seed, 1, since], (step - since) * size, size, len(active))
    forget = tuple(active[i] for i, _ in places)
    members = tuple((turn + i) % len(material.expected[row]) for row, (i, turn) in zip(forget, places, strict=True))
    near = config.normal_rows // 2 if material.neighbours else 0
    far = config.normal_rows - near
    close = _cycle([config.seed, 2], step * near, near, len(material.neighbours))
    rest = _cycle([config.seed, 3], step * far, far, len(material.normal))
    normal = (*(material.neighbours[i] for i, _ in close), *(i for i, _ in rest))
    return Step(forget, members, normal)


def _cycle(seed: Sequence[int], start: int, count: int, length: int) -> list[tuple[int, int]]:
    """`count` places from `start` on in an endless row of shuffled passes over range(length); each with its pass."""
    found: list[tuple[int, int]] = []
    while len(found) < count:
        turn, offset = divmod(start + len(found), length)
        order = np.random.default_rng([*seed, turn]).permutation(length)
        found.extend((int(i), turn) for i in order[offset : offset + count - len(found)])
    return found
