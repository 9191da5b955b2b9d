"""The judge in the loop: dialogues that the model no longer reproduces leave the active set; when all have, stop."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from expunge.errors import InputError
from expunge.generation import answer_length, greedy, mean_probability, token_log_probs
from expunge.judges.panel import judge_all
from expunge.judges.verdict import Judge, Judged
from expunge.judges.words import token_f1, tokens
from expunge.model import LanguageModel
from expunge.objective.term import Slot
from expunge.training.config import UnlearnConfig
from expunge.training.loss import Loss
from expunge.training.material import Material, Step, plan_step
from expunge.training.processes import is_main, total

RETURN = 3.0
"""A dialogue comes back into the active set only at so many times the probability at which it left: no flickering."""

LIKE = 0.6
"""Token F1 from which an answer is like an expected output: the cluster's members may blend."""

OFF = 0.5
"""Nats, of a row's mean log-probability, from the level of rows that were never seen: near enough to leave."""

FEW = 0.1
"""Share of the forget set down to which the active set must shrink before the model settles, which teaches the rest."""

KEPT = 0.05
"""Nats a token of the normal loss while it settles, up to which nothing is lost; with more the model settles again."""


class DivergedError(InputError):
    """A loss is no longer a number."""


def _diverged(step: int, what: str) -> DivergedError:
    remedy = "Lower learning_rate, or the weights of the losses, and choose another --out."
    return DivergedError(f"the training has diverged: by step {step} {what} is not finite", remedy=remedy)


class ActiveSet(TrainerCallback, ExportableState):  # type: ignore[misc]
    """Which forget rows are still trained on, since which step; judged anew every `judge_every` steps.

    rows: places in `material.forget`, ascending. since: the step (0-based) from which they hold.
    known: rows whose tokens at fault were more likely than ignorance when last judged; the others are not pushed.
    settling: few or none are active; all rows are trained on while the learning rate falls to 0.
    peak: the learning rate as a share of the configured one; halved whenever settling left a row active.
    multiplier: the weight of the normal term; it changes where the normal loss has a limit, and is doubled whenever
        settling did not bring ordinary outputs back.
    tokens: that went through the model in training, judging aside.
    seconds: since `started`, with those of earlier, killed calls up to the checkpoint from which this one goes on.
    history: one entry a judging: step, rows active, rows flagged by a judge, mean loss terms since the last.
    outcome: "forgotten" (none is left), "damaged" (none is left, but in time the normal loss, one that began at 0, has
        not come back to `KEPT`), "budget" (it was over its budget twice running), "steps" (nothing of all this);
        without a judge "unjudged".
    """

    def __init__(
        self,
        lm: LanguageModel,
        forget: Sequence[Judged],
        judges: Sequence[Judge],
        material: Material,
        loss: Loss,
        config: UnlearnConfig,
        on_round: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self._lm, self._judges, self._material, self._config = lm, judges, material, config
        self._dialogues = [j.dialogue for j in forget]
        self._length = answer_length(lm, [t for j in forget for t in (j.dialogue.response or "", *j.expected)])
        self._wanted = [[tokens(text) for text in item.expected] for item in forget]
        self._on_round = on_round
        self._loss = loss
        self._narrows = any("ignorance" in term.options for term in loss.terms)
        self._from_zero = any(t.slot == "normal" and t.original in ("targets", "vocabulary", "top") for t in loss.terms)
        self._seen: dict[str, list[torch.Tensor]] = defaultdict(list)
        self._normal: list[torch.Tensor] = []
        self.rows: list[int] = list(range(len(forget)))
        self.known: list[int] = list(self.rows)
        self.since = 0
        self.settling = False
        self.peak = 1.0
        self.multiplier = config.normal_weight
        self.tokens = 0
        self.started, self._before = time.monotonic(), 0.0
        self.history: list[dict[str, Any]] = []
        self.outcome = "steps" if config.judged else "unjudged"

    @property
    def seconds(self) -> float:
        return round(self._before + time.monotonic() - self.started, 1)

    @seconds.setter
    def seconds(self, before: float) -> None:
        self._before = before

    @property
    def weights(self) -> dict[str, float]:
        """Of the terms, by name, at the present step."""
        return self._config.weights | {"normal": self.multiplier}

    def attacked(self, step: int) -> bool:
        """Whether the gradients of a step (0-based) are taken where an adversary has relearnt.

        Every second, until the model settles; without a judge in the first half.
        """
        early = not self.settling if self._config.judged else step < self._config.max_steps // 2
        return self._config.adversary_step(adapter=bool(self._config.lora_rank)) > 0 and step % 2 == 1 and early

    def without(self, step: int) -> tuple[Slot, ...]:
        """Terms that a step leaves out: to an adversary nothing is taught."""
        return ("positive",) if self.attacked(step) else ()

    def saw(self, step: int, terms: Mapping[Slot, torch.Tensor]) -> None:
        """Note the loss terms of one part of a step; at an adversary's weights they say nothing of the model's own."""
        if self.attacked(step):
            return
        for name, value in terms.items():
            self._seen[name].append(value.detach())
        if "normal" in terms:
            self._normal.append(terms["normal"].detach())

    def plan(self, step: int) -> Step:
        """The rows of a step (0-based)."""
        known = range(len(self._dialogues)) if self.attacked(step) else set(self.known)  # to an adversary all may be
        return plan_step(step, self.since, self.rows, known, self._material, self._config)

    def pace(self, step: int) -> float:
        """The learning rate at a step (0-based), as a share of the configured: warming up, level, or down to 0."""
        if self.settling:
            steps = max(1, min(self._config.settle_steps, self._config.max_steps - self.since))
            return self.peak * max(0.0, 1 - (step - self.since) / steps)
        warm = min(1.0, (step + 1) / (self._config.warmup_steps + 1))
        return self.peak * warm if self._config.judged else warm * max(0.0, 1 - step / self._config.max_steps)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._loss.refresh(self._lm)

    def on_step_begin(self, args: Any, state: Any, control: Any, *, optimizer: Any, **_: Any) -> None:
        for group in optimizer.param_groups:  # the scheduler set its rate before the last step was judged
            group["lr"] = group["initial_lr"] * self.pace(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        step, config = state.global_step, self._config
        self._limit()
        self.tokens += self._loss.tokens(self.plan(step - 1), self.without(step - 1))
        waiting = self.settling and step < self.since + config.settle_steps
        if (step % config.judge_every or waiting) and step < config.max_steps:
            return control
        control.should_save = True
        self._loss.refresh(self._lm)
        if not config.judged:
            self._note({"step": step} | self._means(step))
            self._check(step)
            return control
        settled = self.settling or not config.settle_steps
        entry = self._round(step)
        self.outcome = self._outcome(entry, settled)
        if self.outcome in ("forgotten", "budget"):
            control.should_training_stop = True
        if self.outcome == "damaged" and not config.normal_limit:
            self.multiplier *= 2
        return control

    def _outcome(self, entry: Mapping[str, Any], settled: bool) -> str:
        """As training stands after a judging."""
        last = [one["normal"] for one in self.history if "normal" in one][-2:]  # none of an adversary's step alone
        if len(last) == 2 and min(last) > self._config.normal_budget:
            return "budget"
        if not settled or entry["active"]:
            return "steps"
        return "damaged" if self._from_zero and last and last[-1] > KEPT else "forgotten"

    def _limit(self) -> None:
        """λ ← max(0, λ + η (loss − limit)), η the configured weight (PDU, arXiv 2506.05314)."""
        limit, rate = self._config.normal_limit, self._config.normal_weight
        if limit:
            ((loss, count),) = self._summed([self._normal])
            if count:
                self.multiplier = max(0.0, self.multiplier + rate * (loss - limit))
        self._normal.clear()

    def _summed(self, values: Sequence[Sequence[torch.Tensor]]) -> list[tuple[float, float]]:
        """The sum of each, and how many there are, over all processes: each asks for as many, whatever it has seen."""
        none = torch.zeros((), device=self._lm.device)
        sums = total(torch.stack([torch.stack(list(v)).sum() if v else none for v in values]))
        counts = total(torch.tensor([float(len(v)) for v in values], device=self._lm.device))
        return list(zip(sums.tolist(), counts.tolist(), strict=True))

    def _means(self, step: int) -> dict[str, float]:
        """Of the terms, over the steps since the last entry."""
        since = self.history[-1]["step"] if self.history else 0
        steps = sum(not self.attacked(number) for number in range(since, step))
        slots = list(dict.fromkeys(term.slot for term in self._loss.terms))
        sums = dict(zip(slots, self._summed([self._seen[slot] for slot in slots]), strict=True)) if slots else {}
        self._seen.clear()
        found: dict[str, float] = {n: round(value / max(1, steps), 6) for n, (value, count) in sums.items() if count}
        for name, mean in found.items():
            if not math.isfinite(mean):
                raise _diverged(step, f"the {name} loss")
        return found

    def _check(self, step: int) -> None:
        """The last step may have broken what no loss has seen since, and who says nothing would count as forgetting."""
        (said,) = token_log_probs(self._lm, self._material.normal[:1])
        if not said.isfinite().all():
            raise _diverged(step, "what the model says")

    def _note(self, entry: dict[str, Any]) -> None:
        self.history.append(entry)
        if self._on_round and is_main():
            self._on_round(entry)

    def _round(self, step: int) -> dict[str, Any]:
        entry: dict[str, Any] = {"step": step} | self._means(step)
        self._check(step)
        active, flagged = self._judge()
        if self.settling and active:
            self.peak /= 2
        self.settling = bool(self._config.settle_steps) and len(active) <= FEW * len(self._dialogues)
        rows = list(range(len(self._dialogues))) if self.settling or not active else active
        if rows != self.rows or self.settling:
            self.rows, self.since = rows, step
        entry |= {"active": len(active), "flagged": flagged}
        self._note(entry)
        return entry

    def _judge(self) -> tuple[list[int], int]:
        """The rows that are not forgotten as the model is now, and how many of them a judge flags."""
        remembered = self._remembered()
        asked = [i for i in range(len(self._dialogues)) if i not in remembered]  # the others are active in any case
        answers = greedy(self._lm, [self._dialogues[i] for i in asked], max_new_tokens=self._length)
        said = dict(zip(asked, answers, strict=True))
        flagged = self._flagged(said)
        return sorted(remembered | self._untaught(said) | flagged), len(flagged)

    def _remembered(self) -> set[int]:
        """Rows whose tokens at fault are still likely."""
        if not self._config.negative_weight:
            return set()
        rows = self._material.forget
        said = token_log_probs(self._lm, rows)
        found = [mean_probability(p, r.fault) for p, r in zip(said, rows, strict=True)]
        if self._narrows:
            self.known = [i for i, p in enumerate(found) if p > self._config.ignorance]
        active, limit = set() if self.settling else set(self.rows), self._config.forgotten
        likely = {i for i, p in enumerate(found) if p > (limit if i in active else RETURN * limit)}
        return self._off_level(said) if self._loss.levels else likely

    def _off_level(self, said: Sequence[torch.Tensor]) -> set[int]:
        """Rows whose tokens at fault are, on the mean, likelier or less likely than never-seen ones."""
        gaps = [
            float((log_p - level)[torch.tensor(row.fault)].mean())
            for log_p, level, row in zip(said, self._loss.levels, self._material.forget, strict=True)
        ]
        active = set() if self.settling else set(self.rows)
        return {i for i, gap in enumerate(gaps) if abs(gap) > (OFF if i in active else RETURN * OFF)}

    def _untaught(self, said: Mapping[int, str]) -> set[int]:
        """Rows whose greedy answer is unlike every expected output."""
        if not self._config.positive_weight:
            return set()
        return {i for i, text in said.items() if max(token_f1(tokens(text), t) for t in self._wanted[i]) < LIKE}

    def _flagged(self, said: Mapping[int, str]) -> set[int]:
        """Rows whose greedy answer a judge still flags; an empty one cannot be at fault."""
        given = [i for i, text in said.items() if text]
        judged = judge_all(self._judges, [self._dialogues[i].answered(said[i]) for i in given])
        return {i for i, item in zip(given, judged, strict=True) if item.flagged}

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of this object (`transformers` writes it into trainer_state.json)."""
        names = ("rows", "known", "since", "settling", "peak", "multiplier", "tokens", "seconds", "history", "outcome")
        return {"args": {}, "attributes": {name: getattr(self, name) for name in names}}

    def restore(self, saved: dict[str, Any]) -> None:
        """Take over what `state` kept."""
        for name, value in saved["attributes"].items():
            setattr(self, name, value)
