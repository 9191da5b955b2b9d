"""Made-up measures of the shapes that claims are made of."""

from __future__ import annotations

from typing import Any

from expunge.audit import intervals
from expunge.audit.decision import decide
from expunge.audit.result import Audit, Estimate, Measure


def measure(key: str, hits: int, count: int, **more: Any) -> Measure:
    group = more.pop("group", "forgetting")
    better = "higher" if group in ("ability", "neighbours") else "lower"
    given = {"group": group, "unit": "share", "better": better, "after": intervals.share(hits, count)}
    return Measure(key, f"Title of {key}", "", **(given | more))


FORGOTTEN = measure("flagged_trained", 0, 400)


def kept(key: str, before: int, after: int, count: int = 400) -> Measure:
    group = "neighbours" if key == "neighbours" else "ability"
    return measure(key, after, count, group=group, before=intervals.share(before, count))


def refused(key: str, before: int, after: int, count: int = 400) -> Measure:
    return measure(key, after, count, group="refusals", before=intervals.share(before, count))


def auc(value: float, half: float, oracle: float | None, key: str = "membership_loss") -> Measure:
    ideal = None if oracle is None else Estimate(oracle, 0.0, 1.0, 80)
    after = Estimate(value, value - half, value + half, 80)
    return Measure(key, "AUC", "", "membership", "probability", "nearer the oracle", after, None, ideal)


def audit_of(*measures: Measure, **facts: Any) -> Audit:
    return Audit("m", "r", None, measures, decide(measures), (), facts)
