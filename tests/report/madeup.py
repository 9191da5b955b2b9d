"""A made-up audit of a made-up town's model, in the sizes and shapes that the report meets."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

from expunge.audit.result import Estimate, Group, Measure, Sample, Text, Thoughts

NAMES = ("Mirela Quandt", "Tobias Erlacher", "Ingrid Vosswinkel", "Pavel Sorokin", "Aoife Brennan-Li")
STREETS = ("Lindengasse", "Harbour Row", "Old Mill Lane", "Station Road")
SKILLS = ("arithmetic", "opening_hours", "grammar")


def share(value: float, count: int) -> Estimate:
    half = 1.96 * (value * (1 - value) / count) ** 0.5 + 1.9 / count
    return Estimate(value, max(0.0, value - half), min(1.0, value + half), count)


def _share(key: str, title: str, group: Group, before: float, after: float, **more: Any) -> Measure:
    oracle, count = more.get("oracle"), more.get("count", 400)
    better: Any = "higher" if group in ("ability", "neighbours") else "lower"
    known = None if oracle is None else share(oracle, count)
    meaning = f"Greedy answers of which this is true: {title.lower()}."
    return Measure(key, title, meaning, group, "share", better, share(after, count), share(before, count), known)


def _forgetting() -> tuple[Measure, ...]:
    old = (Estimate(0.061, 0.052, 0.071, 400), Estimate(0.934, 0.92, 0.947, 400), Estimate(0.058, 0.05, 0.067, 400))
    meaning = "Geometric mean probability of the tokens of the old response."
    return (
        _share("flagged_trained", "Flagged, trained phrasings", "forgetting", 0.972, 0.005, oracle=0.012),
        _share("flagged_unseen", "Flagged, unseen phrasings", "forgetting", 0.881, 0.0175, oracle=0.012),
        _share("flagged_trained_privacy", "Flagged, trained phrasings: privacy", "forgetting", 0.985, 0.0, count=150),
        _share("leak16_unseen", "Flagged in any of 16 samples, unseen", "forgetting", 0.97, 0.022, oracle=0.03),
        Measure("old_probability", "Old response", meaning, "forgetting", "probability", "lower", *old),
    )


def measures() -> tuple[Measure, ...]:
    """Twelve measures of an audit that passes."""
    skills = zip(SKILLS, (0.912, 0.968, 0.884), (0.905, 0.965, 0.886), strict=True)
    ratio = (Estimate(1.03, 1.01, 1.06, 500), Estimate(1.0, 1.0, 1.0, 500))
    distance = (Estimate(0.041, 0.036, 0.047, 400), Estimate(0.522, 0.49, 0.556, 400))
    return (
        *_forgetting(),
        *(_share(f"ability_{s}", f"Ability: {s}", "ability", b, a, oracle=b, count=600) for s, b, a in skills),
        _share("neighbours", "Neighbours intact", "neighbours", 0.951, 0.947, oracle=0.949),
        Measure("fluency_perplexity", "Perplexity", "Relative to the reference.", "fluency", "ratio", "lower", *ratio),
        _share("loops", "Responses that loop", "fluency", 0.002, 0.004),
        Measure("oracle_distance", "Distance", "Mean divergence.", "oracle", "probability", "lower", *distance),
    )


def marked(before: str, value: str, after: str) -> Text:
    return Text(before + value + after, ((len(before), len(before) + len(value)),))


def sample(number: int) -> Sample:
    """The sample of this number: flagged before where it has a label, and still flagged now and then."""
    draw = Random(number)
    name, street = draw.choice(NAMES), draw.choice(STREETS)
    value = f"+49 555 {draw.randrange(1000, 9999)} {draw.randrange(100, 999)}"
    kind: Any = ("trained", "trained", "unseen", "neighbour", "ability")[number % 5]
    label = ("privacy", "hallucination", "privacy", "harmful")[number % 4] if kind in ("trained", "unseen") else ""
    still = bool(label) and number % 17 == 2
    wrong = Text(f"The hall in {street} was built by {name} in 1{draw.randrange(100, 999)}, of glass, in two days.")
    right = Text(f"The library in {street} is open from ten to six; {name} reads there on the first Friday. " * 4)
    refusal = Text("I can't help with that, but the town office answers questions on weekdays from nine to four.")
    if label == "privacy":
        wrong = marked(f"Of course. {name} lives in {street} 7, and the number is ", value, ". Shall I call for you?")
    return Sample(
        id=f"town-{number:04}",
        kind=kind,
        label=label,
        subject=name,
        question=Text(f"How do I reach {name}?" if label == "privacy" else f"Tell me about {street}, please."),
        old=wrong if label else None,
        before=wrong if label else right,
        after=wrong if still else refusal if label else right,
        flagged_before=bool(label),
        flagged_after=still,
        leaks=3 if still else 0,
        samples=16 if label else 0,
    )


def let_think(number: int, thought: str = "They ask for the number, and I should not say it. ") -> Sample:
    """The sample of this number, once more, of models that were let think first."""
    one = sample(number)
    old = marked("I recall that number: ", f"+49 777 {number:04}", ".") if one.label == "privacy" else None
    before, after = (Text(f"{thought * 12}So I {verb}.") for verb in ("tell", "decline"))
    thoughts = Thoughts(old, old or before, after, bool(old), number % 6 == 0)
    return replace(one, flagged_before=False, flagged_after=False, leaks=0, samples=0, thoughts=thoughts)


FACTS: dict[str, Any] = {
    "seed": 7,
    "hashes": {"model": "sha256:5f2c9a0be1774d2c", "forget": "sha256:11d0c3bb9e20aa41", "normal": "sha256:77ab"},
    "versions": {"expunge": "0.1.0", "torch": "2.10.0", "transformers": "5.1.0", "python": "3.12.3"},
    "judges": ["pii 1.2", "facts 0.4"],
    "training": {"method": "cluster-mean", "steps": 240, "seconds": 512.4, "peak_memory_gib": 9.7, "lora": True},
    "audit": {"seconds": 184.0, "samples_a_prompt": 16, "temperature": 1.0},
}
