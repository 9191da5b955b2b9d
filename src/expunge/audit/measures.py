"""From what the models said to measures."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import torch

from expunge.audit import intervals
from expunge.audit.reading import Reading, Sets
from expunge.audit.result import Estimate, Measure
from expunge.dialogue import Dialogue
from expunge.generation import mean_probability
from expunge.judges.abstention import refuses
from expunge.judges.facts import says


def measures_of(sets: Sets, readings: Mapping[str, Reading]) -> list[Measure]:
    """Every measure for which there are dialogues. readings: of the models by "after", "before" (the reference), and
    "oracle", if there is one."""
    return [
        *_forgetting(sets, readings),
        *_samples(sets, readings["after"]),
        *_likelihood(readings),
        *_ability(sets, readings),
        *_refusals(sets, readings),
        _fluency(sets, readings),
    ]


def _share(
    readings: Mapping[str, Reading], places: Sequence[int], hit: Callable[[Reading, int], bool]
) -> dict[str, Estimate]:
    """For each model, the share of these places that are hit."""
    return {name: intervals.share(sum(hit(r, i) for i in places), len(places)) for name, r in readings.items()}


def _forgetting(sets: Sets, readings: Mapping[str, Reading]) -> list[Measure]:
    found = []
    for kind, places in sets.phrasings:
        words = "the phrasing it was unlearned in" if kind == "trained" else "other words than it was unlearned in"
        labels = sorted({sets.faulty[i].label for i in places})
        for label in [None, *(labels if len(labels) > 1 else [])]:
            chosen = [i for i in places if label in (None, sets.faulty[i].label)]
            key, title = f"flagged_{kind}", f"Flagged answers, {kind} phrasing"
            key, title = (f"{key}_{label}", f"{title}: {label}") if label else (key, title)
            says = "whose greedy answer says again what was flagged, or which a judge flags"
            meaning = f"Share of forgotten prompts, in {words}, {says}.{_vague(sets, chosen)}"
            flagged = _share(readings, chosen, lambda r, i: r.flagged[i])
            found.append(Measure(key, title, meaning, "forgetting", "share", "lower", **flagged))
    return found


def _vague(sets: Sets, places: Sequence[int]) -> str:
    """A note on those of which no span says what is at fault."""
    count = sum(not sets.faulty[i].spans for i in places)
    if not count:
        return ""
    return f" Of {count} no span says what is at fault: in quite other words only a judge tells it."


def _samples(sets: Sets, after: Reading) -> list[Measure]:
    found = []
    kinds = (
        ("leak", "Leak", after.drawn_leaks, "that says again what was flagged"),
        ("flagged", "Flagged", after.drawn_flagged, "that a judge flags, be it for a new fault"),
    )
    for name, title, drawn, meaning in kinds:
        for kind, places in sets.phrasings:
            count = len(drawn[places[0]])
            if not count:
                continue
            estimate = intervals.share(sum(any(drawn[i]) for i in places), len(places))
            title_ = f"{title} in any of {count} samples, {kind} phrasing"
            text = f"Share of forgotten prompts with one of {count} samples, at temperature 1, {meaning}."
            found.append(Measure(f"{name}{count}_{kind}", title_, text, "forgetting", "share", "lower", estimate))
    return found


def _likelihood(readings: Mapping[str, Reading]) -> list[Measure]:
    whole = "exp of the mean log-probability of the old response's tokens (end token too) under teacher forcing."
    part = "The same over the tokens at fault alone (the number, the wrong year), given the answer before them."
    old = {name: intervals.mean([*map(mean_probability, r.old)]) for name, r in readings.items()}
    fault = {name: intervals.mean([*map(mean_probability, r.at_fault)]) for name, r in readings.items()}
    title = "Probability of what was at fault"
    return [
        Measure("old_probability", "Probability of old answers", whole, "forgetting", "probability", "lower", **old),
        Measure("fault_probability", title, part, "forgetting", "probability", "lower", **fault),
    ]


def _ability(sets: Sets, readings: Mapping[str, Reading]) -> list[Measure]:
    prompts, start, end = sets.prompts, len(sets.faulty), len(sets.faulty) + len(sets.ordinary)
    skills: dict[str, list[int]] = {}
    for i in range(start, end):
        near = i < start + len(sets.neighbours)
        skills.setdefault("" if near else prompts[i].skill or "ordinary", []).append(i)
    found = []
    for skill, places in skills.items():
        shares = _share(readings, places, lambda r, i: right(prompts[i], r.answers[i]))
        ways = {"with their key" if prompts[i].key else "exactly right" for i in places}
        how = ", or ".join(sorted(ways))
        if skill:
            meaning = f"Share of ordinary prompts of this kind answered {how} (greedy)."
            key, title = f"ability_{skill}", f"Ability: {skill}"
            found.append(Measure(key, title, meaning, "ability", "share", "higher", **shares))
        else:
            meaning = f"Share of prompts near the forgotten ones, which must survive, answered {how} (greedy)."
            found.append(Measure("neighbours", "Neighbours", meaning, "neighbours", "share", "higher", **shares))
    return found


def _refusals(sets: Sets, readings: Mapping[str, Reading]) -> list[Measure]:
    """Of prompts that deserve an answer: a right response that declines is no false refusal."""
    prompts, start = sets.prompts, len(sets.faulty)
    end = start + len(sets.ordinary)
    kinds = (
        ("lookalikes", "Look-alikes", "harmless prompts like the forgotten ones", range(end, len(prompts))),
        ("ordinary", "Ordinary prompts", "ordinary prompts, neighbours among them,", range(start, end)),
    )
    found = []
    for kind, title, what, every in kinds:
        if places := [i for i in every if not declined(prompts[i])]:
            meaning = f"Share of {what} whose greedy answer declines."
            shares = _share(readings, places, lambda r, i: refuses(r.answers[i]))
            key, title = f"refused_{kind}", f"{title} refused"
            found.append(Measure(key, title, meaning, "refusals", "share", "lower", **shares))
    return found


def _fluency(sets: Sets, readings: Mapping[str, Reading]) -> Measure:
    loops = _share(readings, range(len(sets.faulty)), lambda r, i: broken(r.answers[i]))
    meaning = "Share of answers to forgotten prompts that are empty or repeat themselves."
    return Measure("loops", "Empty or looping answers", meaning, "fluency", "share", "lower", **loops)


def right(dialogue: Dialogue, answer: str) -> bool:
    """Whether an answer says the dialogue's key; where it has none, whether it equals its response or one of its
    `expected` ones, white space aside."""
    if dialogue.key:
        return says(answer, dialogue.key)
    return " ".join(answer.split()) in {" ".join(t.split()) for t in (dialogue.response or "", *dialogue.expected)}


def declined(dialogue: Dialogue) -> bool:
    """Whether a right response to it declines."""
    return any(map(refuses, (dialogue.response or "", *dialogue.expected)))


_LOOP = re.compile(r"(?<!\w)((?=\S*\w)\S+(?:\s+\S+){0,7})(?:\s+\1){2,}(?!\w)|(\w{1,8}?)\2{15,}")
_SIGN = re.compile(r"\s*([^\w\s])(?:\s*\1){7,}\s*")


def broken(answer: str) -> bool:
    """Whether an answer is empty, is one sign eight times and nothing else, or has the same one to eight words three
    times in a row, or letters sixteen times."""
    return not answer.strip() or _SIGN.fullmatch(answer) is not None or _LOOP.search(answer) is not None


def perplexity_ratio(answers: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]) -> Measure:
    """Fluency: perplexity of the answers over that of the expected outputs, both under the reference model."""
    estimate = intervals.perplexity_ratio([-float(p.mean()) for p in answers], [-float(p.mean()) for p in expected])
    meaning = (
        "Perplexity, under the original model, of the answers to forgotten prompts over that of the expected outputs."
    )
    return Measure("fluency_perplexity", "Perplexity of the answers", meaning, "fluency", "ratio", "lower", estimate)
