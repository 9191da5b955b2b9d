"""Membership inference as the benchmarks have it: rows to be forgotten against rows that no model saw."""

from __future__ import annotations

from collections.abc import Mapping

from expunge.audit import intervals
from expunge.audit.membership import Sides
from expunge.audit.result import Measure
from expunge.benchmarks.result import Figures

TITLES = {
    "loss": "loss",
    "zlib": "zlib",
    "mink": "Min-K %",
    "minkpp": "Min-K %++",
    "gradient": "gradient norm",
}
_AUC = (
    "AUC of telling forget rows from holdout rows by this score (see the probe `membership`). Both tails are a leak: "
    "far above the oracle's it remembers; far below, what was pressed down shows as plainly."
)
_PRIVLEAK = (
    "(AUC − the oracle's) / the oracle's, AUC being that of the holdout rows, by Min-K %: 0 is the oracle; towards "
    "−100% it is still known; above 0 it was pressed below what a model says that never saw it."
)


def measures(found: Mapping[str, Figures], members: int) -> list[Measure]:
    """The AUC by each attack, and, with an oracle, PrivLeak; the first `members` rows are those to be forgotten."""

    def sides(name: str, attack: str) -> Sides:
        values = list(found[name][attack])
        return values[:members], values[members:]

    made = []
    for attack in found["after"]:
        aucs = {name: intervals.auc(*sides(name, attack)) for name in found}
        title = f"Membership inference: {TITLES[attack]}"
        made.append(
            Measure(f"membership_{attack}", title, _AUC, "membership", "probability", "nearer the oracle", **aucs)
        )
    if "oracle" in found:
        leaks = {n: intervals.privleak(*sides(n, "mink"), *sides("oracle", "mink")) for n in found}
        if (after := leaks["after"]) is not None:
            made.append(
                Measure(
                    "privleak", "PrivLeak", _PRIVLEAK, "membership", "share", "nearer the oracle", after,
                    oracle=leaks["oracle"],
                )
            )  # fmt: skip
    return made
