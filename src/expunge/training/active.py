"""The judge in the loop: dialogues that the model no longer reproduces leave the active set; when all have, stop."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from expunge.generation import answer_length, greedy, mean_probability, token_log_probs
from expunge.judges.panel import judge_all
from expunge.judges.verdict import Judge, Judged
from expunge.judges.words import token_f1, tokens
from expunge.model import LanguageModel
from expunge.training.config import UnlearnConfig
from expunge.training.material import Material


class ActiveSet(TrainerCallback, ExportableState):  # type: ignore[misc]
    """Which forget rows are still trained on, since which step; judged anew every `judge_every` steps.

    rows: places in `material.forget`, ascending. since: the step (0-based) from which they hold.
    history: one entry a judging: step, rows active, rows flagged by a judge, mean loss terms since the last.
    outcome: "forgotten" (none is left), "budget" (the normal loss passed its budget), "steps" (none of both in time).
    """

    def __init__(
        self,
        lm: LanguageModel,
        forget: Sequence[Judged],
        judges: Sequence[Judge],
        material: Material,
        config: UnlearnConfig,
        on_round: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self._lm, self._judges, self._material, self._config = lm, judges, material, config
        self._dialogues = [j.dialogue for j in forget]
        self._length = answer_length(lm, [d.response or "" for d in self._dialogues])
        self._on_round = on_round
        self._seen: dict[str, list[torch.Tensor]] = defaultdict(list)
        self.rows: list[int] = list(range(len(forget)))
        self.since = 0
        self.history: list[dict[str, Any]] = []
        self.outcome = "steps"

    def saw(self, terms: dict[str, torch.Tensor]) -> None:
        """Note the loss terms of one part of a step."""
        for name, value in terms.items():
            self._seen[name].append(value.detach())

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        if state.global_step % self._config.judge_every and state.global_step < self._config.max_steps:
            return control
        entry = self._round(state.global_step)
        over = entry.get("normal", 0.0) > self._config.normal_budget
        if not entry["active"] or over:
            self.outcome = "budget" if over else "forgotten"
            control.should_training_stop = True
        control.should_save = True
        return control

    def _round(self, step: int) -> dict[str, Any]:
        steps = step - (self.history[-1]["step"] if self.history else 0)
        entry: dict[str, Any] = {"step": step}
        for name, values in self._seen.items():
            entry[name] = round(float(torch.stack(values).sum()) / max(1, steps), 6)
        self._seen.clear()
        answers = greedy(self._lm, self._dialogues, max_new_tokens=self._length)
        flagged = self._flagged(answers)
        active = sorted(self._remembered() | self._untaught(answers) | flagged)
        if active != self.rows:
            self.rows, self.since = active, step
        entry |= {"active": len(active), "flagged": len(flagged)}
        self.history.append(entry)
        if self._on_round:
            self._on_round(entry)
        return entry

    def _remembered(self) -> set[int]:
        """Rows whose tokens at fault are still likely."""
        if not self._config.negative:
            return set()
        rows = self._material.forget
        found = token_log_probs(self._lm, rows)
        pairs = enumerate(zip(rows, found, strict=True))
        return {i for i, (row, log_p) in pairs if mean_probability(log_p, row.fault) > self._config.forgotten}

    def _untaught(self, answers: Sequence[str]) -> set[int]:
        """Rows whose greedy answer is unlike every expected output."""
        if not self._config.positive:
            return set()
        pairs = enumerate(zip(answers, self._material.outputs, strict=True))
        return {
            i for i, (said, texts) in pairs
            if max(token_f1(tokens(said), tokens(text)) for text in texts) < self._config.taught
        }  # fmt: skip

    def _flagged(self, answers: Sequence[str]) -> set[int]:
        """Rows whose greedy answer a judge still flags; an empty one cannot be at fault."""
        given = [i for i, text in enumerate(answers) if text]
        judged = judge_all(self._judges, [self._dialogues[i].answered(answers[i]) for i in given])
        return {i for i, item in zip(given, judged, strict=True) if item.flagged}

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of this object (`transformers` writes it into trainer_state.json)."""
        return {
            "args": {},
            "attributes": {
                "rows": self.rows,
                "since": self.since,
                "history": self.history,
                "outcome": self.outcome,
            },
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Take over what `state` kept."""
        for name, value in saved["attributes"].items():
            setattr(self, name, value)
