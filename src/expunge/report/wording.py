"""How figures are written: one place, so that page and terminal say the same."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from expunge.audit.result import Audit, Claim, Estimate, Group, Measure, Sample

Change = Literal["better", "worse", "unclear"]

GROUPS: dict[Group, tuple[str, str]] = {
    "forgetting": ("Forgetting", "Does the model still say what it should not?"),
    "robustness": ("Robustness", "Does it come back under attack?"),
    "membership": ("Membership", "Can an attacker tell what was forgotten?"),
    "ability": ("Ability", "Does it still solve ordinary tasks?"),
    "neighbours": ("Neighbours", "Are dialogues close to the forgotten ones intact?"),
    "refusals": ("False refusals", "Does it refuse what is harmless?"),
    "fluency": ("Fluency", "Does it still write well?"),
    "oracle": ("Against the oracle", "How far is it from a model that never saw the dialogues?"),
}
"""Title and question of each group, in the order in which they are shown."""

KINDS = {
    "trained": "trained phrasing",
    "unseen": "unseen phrasing",
    "neighbour": "neighbour",
    "ability": "ability",
    "lookalike": "look-alike",
}
LET_THINK = {f"{kind} thinking": f"{title}, let think" for kind, title in KINDS.items()}
CHANGES = {"ability": "lost", "neighbours": "lost", "refusals": "more", "membership": "apart"}
"""What the figure of a claim says, where it is a change from the original, or a distance from the oracle."""
LIMITS = (
    "The figures hold for what was asked, and as far as the judges see: what no judge flags is neither forgotten nor "
    "counted. They do not show that the weights hold no trace of what was unlearned."
)
"""What whoever signs should know of any audit."""
_COST_WORDS = ("cost", "seconds", "minutes", "hours", "steps", "tokens", "memory", "energy", "gib")


def kind_of(sample: Sample) -> str:
    """Which of `KINDS` it is, or of `LET_THINK`."""
    return sample.kind if sample.thoughts is None else f"{sample.kind} thinking"


def grouped(audit: Audit) -> Iterator[tuple[Group, list[Measure]]]:
    """The groups that have measures, each with them, in the order of `GROUPS`."""
    for group in GROUPS:
        if measures := [m for m in audit.measures if m.group == group]:
            yield group, measures


def figure(value: float, unit: str) -> str:
    """A value in its unit; tiny is never shown as zero, nor nearly all as all."""
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "∞"
    value = round(value, 12) + 0.0  # what a difference of like floats leaves is none
    if unit == "steps":
        return f"{value:.0f} steps"
    if unit == "ratio":
        return f"{value:.2f}×"
    if unit == "number":
        return f"{value:.3f}"
    if unit == "nats":
        return "<0.001 nats" if 0 < value < 0.0005 else f"{value:.3f} nats"
    if -0.0005 < value < 0:
        return ">-0.001" if unit == "probability" else ">-0.1%"
    if unit == "probability":
        return "<0.001" if 0 < value < 0.0005 else ">0.999" if 0.9995 <= value < 1 else f"{value:.3f}"
    return "<0.1%" if 0 < value < 0.0005 else ">99.9%" if 0.9995 <= value < 1 else f"{100 * value:.1f}%"


def tick(value: float, unit: str) -> str:
    """A place on an axis."""
    return {"share": f"{100 * value:g}%", "ratio": f"{value:g}×"}.get(unit, f"{value:g}")


def interval(estimate: Estimate, unit: str) -> str:
    """The 95 % interval, the unit written once: "0.1–2.3%"; a dash where there is none."""
    if math.isnan(estimate.low) and math.isnan(estimate.high):
        return "–"
    low, high = figure(estimate.low, unit), figure(estimate.high, unit)
    return f"{low.removesuffix(' steps').removesuffix(' nats').rstrip('%×')}–{high}"


def ends(estimate: Estimate) -> tuple[float, float]:
    """Where its interval is drawn; where it has none, nothing sticks out."""
    low, high = (estimate.value if math.isnan(end) else end for end in (estimate.low, estimate.high))
    return low, high


def claimed(claim: Claim, part: Literal["value", "low", "high"]) -> str:
    """The figure that a claim is about, or an end of its interval; a dash where nothing was measured."""
    unit = "probability" if claim.name == "membership" else "share"
    return figure(getattr(claim.found, part), unit) if claim.found else "–"


def changed(claim: Claim) -> str:
    """What its figure says, after it, where that is a change or a distance: " lost"."""
    return f" {CHANGES[claim.name]}" if claim.found and claim.name in CHANGES else ""


def gained(claim: Claim) -> bool:
    """Whether it is about a loss, and that is below zero."""
    return changed(claim) == " lost" and claimed(claim, "value").startswith(("-", ">-"))


def told(claim: Claim) -> str:
    """As `changed`, for a reader, who need not work out what a loss below zero is."""
    return changed(claim) + (" (a gain)" if gained(claim) else "")


def change(measure: Measure) -> Change | None:
    """Whether after differs from before by more than both intervals, and in which direction.

    None without a before or an interval, and where near the oracle is good and there is none.
    """
    before, after = measure.before, measure.after
    if before is None or any(map(math.isnan, (after.low, after.high, before.low, before.high))):
        return None
    if after.low <= before.high and before.low <= after.high:
        return "unclear"
    if measure.better == "nearer the oracle":
        return _nearer(before.value, after.value, measure.oracle)
    return "better" if (after.value < before.value) == (measure.better == "lower") else "worse"


def _nearer(before: float, after: float, oracle: Estimate | None) -> Change | None:
    return None if oracle is None else "better" if abs(after - oracle.value) < abs(before - oracle.value) else "worse"


def flat(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested facts as (dotted name, text) pairs, in the order given."""
    for key, value in facts.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from flat(value, f"{name}.")
        elif isinstance(value, Sequence) and not isinstance(value, str) and any(isinstance(v, Mapping) for v in value):
            yield from flat({str(i): v for i, v in enumerate(value, start=1)}, f"{name}.")
        else:
            yield name, fact(name, value)


def is_cost(name: str) -> bool:
    """Whether a fact tells of time, memory or steps rather than of lineage."""
    return any(word in name.lower() for word in _COST_WORDS)


def fact(name: str, value: Any) -> str:
    """A fact's value in words."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float) and name.lower().endswith("seconds"):
        return duration(value)
    if isinstance(value, int):
        return f"{value:,}" if is_cost(name) else str(value)
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(fact(name, item) for item in value) or "–"
    return str(value)


def duration(seconds: float) -> str:
    """Seconds as people say them: "3.2 s", "5 min 12 s", "2 h 03 min"."""
    if not math.isfinite(seconds) or seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60:02} min"
