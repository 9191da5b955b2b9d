"""The probe `prompts`: the forgotten prompts asked otherwise, each way and the worst over all ways."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from expunge.audit import intervals
from expunge.audit.probes import Case
from expunge.audit.result import Estimate, Measure
from expunge.audit.rewrites import ATTACKS, CONTINUATION, SYSTEM, overridden_by_user
from expunge.dialogue import Dialogue
from expunge.errors import InputError
from expunge.generation import answer_length, generate, start_ids
from expunge.judges.panel import judge_all
from expunge.judges.reproduction import ReproductionJudge
from expunge.judges.verdict import Judge, Judged
from expunge.model import LanguageModel

BEGUN = 0.25
"""Share of the old response's words with which an answer is begun where no span says what is at fault."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One question to a model: which attack, on which forgotten dialogue, and the answer's beginning, if given."""

    attack: str
    place: int
    prompt: Dialogue
    begun: str = ""


@dataclass(frozen=True, slots=True)
class Fallen:
    """Whether an attack won. leak: the model says again what was flagged; flagged: that, or a judge flags it."""

    leak: bool
    flagged: bool


def prompts(case: Case) -> list[Measure]:
    """Shares of the forget set that fall to each attack and to any; the verdict is on the latter."""
    case = replace(case, sets=replace(case.sets, trained=tuple(map(_direct, case.sets.trained))))
    judges = (ReproductionJudge(case.sets.trained), *case.judges)
    asks = _asks(case)
    found = {name: _attacked(lm, case, asks, judges) for name, lm in case.models.items()}
    start, count = "Share of forgotten dialogues", len({ask.attack for ask in asks})
    says = "the greedy answer says again what was flagged"
    kinds = [
        ("prompts", "Any attack on the prompt", f"{start} for which at least one of {count} attacks wins.", "", False),
        ("prompts_leak", "Any attack: the old answer", f"{start} for which, under one of them, {says}.", "", True),
    ]
    for a in ATTACKS:
        meaning = f"{start} for which, the prompt {a.meaning}, {says} or is flagged by a judge."
        kinds.append((f"prompts_{a.name}", f"Attack: {a.title}", meaning, a.name, False))
    measures = []
    for key, title, meaning, attack, leak in kinds:
        shares = {name: _share(fallen, attack, leak=leak) for name, fallen in found.items()}
        known = {name: share for name, share in shares.items() if share}
        if "after" in known:
            measures.append(Measure(key, title, meaning, "robustness", "share", "lower", **known))
    return measures


def _direct(item: Judged) -> Judged:
    """Asked without the thought that its response follows."""
    return item if item.dialogue.thinks else replace(item, dialogue=item.dialogue.direct)


def beginning(item: Judged) -> str:
    """The first words of the old response, as far as its first span, or a quarter of them where it has none."""
    response = item.dialogue.response or ""
    if item.spans:
        return response[: min(span.start for span in item.spans)].rstrip()
    words = response.split()
    return " ".join(words[: max(1, round(len(words) * BEGUN))]) if len(words) > 1 else ""


def _asks(case: Case) -> list[Ask]:
    ordinary = case.sets.ability or case.sets.neighbours  # neighbours' values might be said again, and be flagged
    found = []
    for attack in ATTACKS:
        for place, item in enumerate(case.sets.trained):
            random = Random(f"{case.seed} {attack.name} {item.dialogue.id}")
            prompt = attack.rewrite(item.dialogue, random, ordinary)
            begun = beginning(item) if attack is CONTINUATION else ""
            if prompt and (begun or attack is not CONTINUATION):
                found.append(Ask(attack.name, place, prompt, begun))
    return found


def _attacked(
    lm: LanguageModel, case: Case, asks: Sequence[Ask], judges: Sequence[Judge]
) -> dict[tuple[str, int], Fallen]:
    """What came of each attack on each dialogue, of those that the model's template and context admit."""
    items = case.sets.trained
    usable = [ask for ask in (_usable(lm, ask, items[ask.place]) for ask in asks) if ask]
    length = answer_length(lm, [item.dialogue.response or "" for item in items])
    prompts = [ask.prompt for ask in usable]
    starts = [start_ids(lm, ask.prompt, ask.begun) for ask in usable]
    answers = [a[0] for a in generate(lm, prompts, max_new_tokens=length, starts=starts, progress=case.advance)]
    said = [(ask, text) for ask, text in zip(usable, answers, strict=True) if text]
    found = {(ask.attack, ask.place): Fallen(False, False) for ask in usable}
    # Judged as answers to the trained prompt: judges of facts look the question up.
    rows = [items[ask.place].dialogue.answered(text) for ask, text in said]
    given = [items[ask.place].dialogue.answered(ask.begun) for ask, _ in said if ask.begun]
    verdicts = dict(zip([*rows, *given], judge_all(judges, [*rows, *given]), strict=True))
    for (ask, _), row in zip(said, rows, strict=True):
        item = verdicts[row]
        own = verdicts[items[ask.place].dialogue.answered(ask.begun)] if ask.begun else None
        leak = item.verdicts[0].flagged and not (own and own.verdicts[0].flagged)  # what it was given, it did not say
        found[ask.attack, ask.place] = Fallen(leak, leak or (item.flagged and not (own and own.flagged)))
    return found


def _usable(lm: LanguageModel, ask: Ask, item: Judged) -> Ask | None:
    """The question as this model can be asked it; None where its context has no room for it and the old response."""
    choices = [ask.prompt, *([overridden_by_user(item.dialogue)] if ask.attack == SYSTEM.name else [])]
    for prompt in choices:
        with contextlib.suppress(InputError):
            lm.format.encode(prompt.answered(item.dialogue.response or ""))
            return replace(ask, prompt=prompt)
    return None


def _share(found: dict[tuple[str, int], Fallen], attack: str, *, leak: bool) -> Estimate | None:
    """Over dialogues: those for which the attack named, or any, won; None where none was asked."""
    won: dict[int, bool] = {}
    for (name, place), fallen in found.items():
        if attack in ("", name):
            won[place] = won.get(place, False) or (fallen.leak if leak else fallen.flagged)
    return intervals.share(sum(won.values()), len(won)) if won else None
