"""How far judges agree, beyond what chance alone would give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from expunge.judges.verdict import LABELS


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of two judges on one label, against all others; over the dialogues that both could judge.

    agreed: share of equal answers. kappa: Cohen's κ = (p_o − p_e) / (1 − p_e), with p_o the share of equal answers and
    p_e that of two judges who give the label as often but at random (Cohen 1960); None where p_e is 1: nobody, or
    everybody, gives the label.
    """

    first: str
    second: str
    label: str
    count: int
    agreed: float
    kappa: float | None


def agreements(names: Sequence[str], votes: Mapping[str, int]) -> list[Agreement]:
    """For each pair of judges and each label that both of them give: others they may not know.

    votes: how often the judges answered together as the key says: their labels in the order of `names`, joined by
    commas, as `scan.Scan.votes` counts.
    """
    found = []
    for a, b in combinations(range(len(names)), 2):
        pairs = [(key.split(","), n) for key, n in votes.items()]
        known = [(labels[a], labels[b], n) for labels, n in pairs if "unknown" not in (labels[a], labels[b])]
        for label in LABELS[:-2]:
            table = {(x, y): 0 for x in (True, False) for y in (True, False)}
            for one, two, n in known:
                table[one == label, two == label] += n
            if table[True, True] + table[True, False] and table[True, True] + table[False, True]:
                found.append(_agreement(names[a], names[b], label, table))
    return found


def _agreement(first: str, second: str, label: str, table: Mapping[tuple[bool, bool], int]) -> Agreement:
    count = sum(table.values())
    agreed = (table[True, True] + table[False, False]) / count
    one, two = (table[True, True] + table[True, False]) / count, (table[True, True] + table[False, True]) / count
    chance = one * two + (1 - one) * (1 - two)
    return Agreement(first, second, label, count, agreed, (agreed - chance) / (1 - chance) if chance < 1 else None)
