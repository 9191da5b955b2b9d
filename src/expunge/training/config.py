"""Settings of one unlearning, with their cross-checks. The defaults were chosen by measurement."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from expunge.errors import InputError


@dataclass(frozen=True, slots=True)
class UnlearnConfig:
    """How to unlearn.

    negative_weight, positive_weight, normal_weight: of the three terms; 0 leaves a term out.
    hidden_weight: of the normal term in hidden space, after the middle and the last layer.
    ignorance: probability of a token at fault at which it is left alone (q in `objective.distance_loss`).
    forgotten: a dialogue leaves the active set when the mean probability of its tokens at fault is at most this, no
        judge flags the greedy answer, and that answer is like an expected output. It comes back when one of these
        fails, the first by a factor of three.
    settle_steps: once one dialogue in fifty is active, so many steps on mostly normal rows, at a rate that falls to
        0; then all are judged once more, and if any is still active, training goes on at half the rate.
    normal_budget: stop when the mean normal loss since the last judging (nats per token) exceeds this.
    learning_rate: default 6.2e-4 · (192 / hidden size)^1.5, ten times that for LoRA.
    forget_rows, normal_rows: dialogues in a step; accumulation: parts in which a step is computed.
    judge_every: steps from one judging of the active set to the next; also the interval of checkpoints.
    lora_rank: 0 trains all weight matrices but the embeddings and the output layer, whose change reaches every token.
    noise: added to the embeddings while training (α of NEFTune, arXiv 2310.05914), so that what is learnt on one
        phrasing holds on another. Drawn for each forward, so another accumulation gives other losses; with 0 the same.
    """

    seed: int = 0
    max_steps: int = 600
    learning_rate: float | None = None
    warmup_steps: int = 10
    forget_rows: int = 12
    normal_rows: int = 30
    accumulation: int = 1
    negative_weight: float = 2.0
    positive_weight: float = 3.0
    normal_weight: float = 20.0
    hidden_weight: float = 20.0
    ignorance: float = 0.0005
    forgotten: float = 0.01
    normal_budget: float = 0.5
    judge_every: int = 20
    settle_steps: int = 40
    lora_rank: int = 0
    noise: float = 1.0

    def __post_init__(self) -> None:
        def check(right: bool, name: str, rule: str) -> None:
            if not right:
                raise InputError(f"{name} = {getattr(self, name)}: {rule}")

        for name, value in dataclasses.asdict(self).items():
            check(value is None or math.isfinite(value), name, "must be finite")
        for name in ("max_steps", "forget_rows", "normal_rows", "accumulation", "judge_every"):
            check(getattr(self, name) >= 1, name, "must be at least 1")
        for name in (
            "negative_weight",
            "positive_weight",
            "normal_weight",
            "hidden_weight",
            "normal_budget",
            "warmup_steps",
            "noise",
            "lora_rank",
        ):
            check(getattr(self, name) >= 0, name, "must not be negative")
        for name in ("ignorance", "forgotten"):
            check(0 <= getattr(self, name) < 1, name, "must be in [0, 1)")
        check(self.settle_steps % self.judge_every == 0, "settle_steps", "must be a multiple of judge_every")
        check(self.ignorance <= self.forgotten, "ignorance", "must not exceed `forgotten`, which it could never reach")
        check(self.learning_rate is None or self.learning_rate > 0, "learning_rate", "must be positive")
        check(self.negative_weight + self.positive_weight > 0, "negative_weight", "and positive_weight are both 0")

    @property
    def weights(self) -> dict[str, float]:
        """Of the terms, by name."""
        names = ("negative", "positive", "normal", "hidden")
        return {name: getattr(self, f"{name}_weight") for name in names}

    def rate(self, hidden_size: int) -> float:
        """The learning rate: as given, or by the width of the model."""
        if self.learning_rate is not None:
            return self.learning_rate
        full = 6.2e-4 * float((192 / hidden_size) ** 1.5)
        return full * 10 if self.lora_rank else full
