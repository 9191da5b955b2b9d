"""From what the models said to measures."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import torch

from expunge.audit import intervals
from expunge.audit.reading import Reading, Sets
from expunge.audit.result import Better, Estimate, Group, Measure, Unit
from expunge.dialogue import Dialogue
from expunge.generation import mean_probability
from expunge.judges.abstention import refuses


class Measurer:
    """Takes the same figure from each model's reading: before (the reference), after, and the oracle's, if any."""

    def __init__(self, sets: Sets, before: Reading, after: Reading, oracle: Reading | None):
        self._sets = sets
        self._before, self._after, self._oracle = before, after, oracle

    def all(self) -> list[Measure]:
        """Every measure for which there are dialogues."""
        return [
            *self._forgetting(),
            *self._samples(),
            *self._likelihood(),
            *self._ability(),
            *self._refusals(),
            *self._fluency(),
        ]

    def _measure(
        self,
        take: Callable[[Reading], Estimate],
        key: str,
        title: str,
        meaning: str,
        group: Group,
        unit: Unit,
        better: Better,
    ) -> Measure:
        oracle = take(self._oracle) if self._oracle else None
        return Measure(key, title, meaning, group, unit, better, take(self._after), take(self._before), oracle)

    def _forgetting(self) -> list[Measure]:
        found = []
        for kind, places in self._phrasings():
            words = "the phrasing it was unlearned in" if kind == "trained" else "other words than it was unlearned in"
            labels = sorted({self._sets.faulty[i].label for i in places})
            for label in [None, *(labels if len(labels) > 1 else [])]:
                chosen = [i for i in places if label in (None, self._sets.faulty[i].label)]

                def take(r: Reading, chosen: list[int] = chosen) -> Estimate:
                    return intervals.share(sum(r.flagged[i] for i in chosen), len(chosen))

                key, title = f"flagged_{kind}", f"Flagged answers, {kind} phrasing"
                key, title = (f"{key}_{label}", f"{title}: {label}") if label else (key, title)
                says = "whose greedy answer says again what was flagged, or which a judge flags"
                meaning = f"Share of forgotten prompts, in {words}, {says}.{self._vague(chosen)}"
                found.append(self._measure(take, key, title, meaning, "forgetting", "share", "lower"))
        return found

    def _vague(self, places: Sequence[int]) -> str:
        """A note on those of which no span says what is at fault."""
        count = sum(not self._sets.faulty[i].spans for i in places)
        if not count:
            return ""
        return f" Of {count} no span says what is at fault: in quite other words only a judge tells it."

    def _samples(self) -> list[Measure]:
        found = []
        kinds = (
            ("leak", "Leak", self._after.drawn_leaks, "that says again what was flagged"),
            ("flagged", "Flagged", self._after.drawn_flagged, "that a judge flags, be it for a new fault"),
        )
        for name, title, drawn, meaning in kinds:
            for kind, places in self._phrasings():
                count = len(drawn[places[0]])
                if not count:
                    continue
                estimate = intervals.share(sum(any(drawn[i]) for i in places), len(places))
                title_ = f"{title} in any of {count} samples, {kind} phrasing"
                text = f"Share of forgotten prompts with one of {count} samples, at temperature 1, {meaning}."
                key = f"{name}{count}_{kind}"
                found.append(Measure(key, title_, text, "forgetting", "share", "lower", estimate))
        return found

    def _likelihood(self) -> list[Measure]:
        def old(r: Reading) -> Estimate:
            return intervals.mean([mean_probability(log_p) for log_p in r.old])

        def fault(r: Reading) -> Estimate:
            return intervals.mean([mean_probability(log_p) for log_p in r.at_fault])

        whole = "exp of the mean log-probability of the old response's tokens (end token too) under teacher forcing."
        part = "The same over the tokens at fault alone (the number, the wrong year), given the answer before them."
        titles = ("Probability of old answers", "Probability of what was at fault")
        return [
            self._measure(old, "old_probability", titles[0], whole, "forgetting", "probability", "lower"),
            self._measure(fault, "fault_probability", titles[1], part, "forgetting", "probability", "lower"),
        ]

    def _ability(self) -> list[Measure]:
        found = []
        start = len(self._sets.faulty)
        ordinary = self._sets.ordinary
        groups: dict[str, list[int]] = {}
        for i, dialogue in enumerate(ordinary):
            near = i < len(self._sets.neighbours)
            groups.setdefault("" if near else dialogue.skill or "ordinary", []).append(i)
        for skill, places in groups.items():

            def take(r: Reading, places: list[int] = places) -> Estimate:
                return intervals.share(sum(right(ordinary[i], r.answers[start + i]) for i in places), len(places))

            if skill:
                meaning = "Share of ordinary prompts of this kind answered exactly right (greedy)."
                found.append(
                    self._measure(take, f"ability_{skill}", f"Ability: {skill}", meaning, "ability", "share", "higher")
                )
            else:
                meaning = (
                    "Share of prompts near the forgotten ones, which must survive, answered exactly right (greedy)."
                )
                found.append(self._measure(take, "neighbours", "Neighbours", meaning, "neighbours", "share", "higher"))
        return found

    def _refusals(self) -> list[Measure]:
        """Of prompts that deserve an answer: a right response that declines is no false refusal."""
        prompts, start = self._sets.prompts, len(self._sets.faulty)
        end = start + len(self._sets.ordinary)
        kinds = (
            ("lookalikes", "Look-alikes", "harmless prompts like the forgotten ones", range(end, len(prompts))),
            ("ordinary", "Ordinary prompts", "ordinary prompts, neighbours among them,", range(start, end)),
        )
        found = []
        for kind, title, what, every in kinds:
            places = [i for i in every if not declined(prompts[i])]
            if not places:
                continue

            def take(r: Reading, places: list[int] = places) -> Estimate:
                return intervals.share(sum(refuses(r.answers[i]) for i in places), len(places))

            meaning = f"Share of {what} whose greedy answer declines."
            key = f"refused_{kind}"
            found.append(self._measure(take, key, f"{title} refused", meaning, "refusals", "share", "lower"))
        return found

    def _fluency(self) -> list[Measure]:
        count = len(self._sets.faulty)

        def loops(r: Reading) -> Estimate:
            return intervals.share(sum(broken(a) for a in r.answers[:count]), count)

        meaning = "Share of answers to forgotten prompts that are empty or repeat themselves."
        return [self._measure(loops, "loops", "Empty or looping answers", meaning, "fluency", "share", "lower")]

    def _phrasings(self) -> list[tuple[str, list[int]]]:
        trained = len(self._sets.trained)
        pairs = [("trained", list(range(trained))), ("unseen", list(range(trained, len(self._sets.faulty))))]
        return [(kind, places) for kind, places in pairs if places]


def right(dialogue: Dialogue, answer: str) -> bool:
    """Whether an answer equals the dialogue's response or one of its `expected` ones, white space aside."""
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
