"""Settings of one unlearning, with their cross-checks. The defaults were chosen by measurement (docs/ablation.md)."""

from __future__ import annotations

from dataclasses import dataclass

from expunge.errors import InputError


@dataclass(frozen=True, slots=True)
class UnlearnConfig:
    """How to unlearn.

    negative, positive, normal: weights of the three terms; 0 leaves a term out.
    ignorance: probability of an undesirable token at which it is left alone (q in `objective.distance_loss`).
    forgotten: a dialogue leaves the active set when the mean probability of its tokens at fault is at most this, no
        judge flags the greedy answer, and that answer is like an expected output (token F1 at least `taught`).
    normal_budget: stop when the mean normal loss since the last judging (nats per token) exceeds this.
    learning_rate: default 1e-3 · (192 / hidden size)^1.5, ten times that for LoRA.
    forget_rows, normal_rows: dialogues in a step; accumulation: parts in which a step is computed.
    judge_every: steps from one judging of the active set to the next; also the interval of checkpoints.
    lora_rank: 0 trains all parameters.
    """

    seed: int = 0
    max_steps: int = 600
    learning_rate: float | None = None
    warmup_steps: int = 10
    forget_rows: int = 16
    normal_rows: int = 32
    accumulation: int = 1
    negative: float = 1.0
    positive: float = 1.0
    normal: float = 1.0
    ignorance: float = 0.01
    forgotten: float = 0.03
    taught: float = 0.8
    normal_budget: float = 0.5
    judge_every: int = 20
    lora_rank: int = 0

    def __post_init__(self) -> None:
        def check(right: bool, name: str, rule: str) -> None:
            if not right:
                raise InputError(f"{name} = {getattr(self, name)}: {rule}")

        for name in ("max_steps", "forget_rows", "normal_rows", "accumulation", "judge_every"):
            check(getattr(self, name) >= 1, name, "must be at least 1")
        for name in ("negative", "positive", "normal", "normal_budget", "warmup_steps", "lora_rank"):
            check(getattr(self, name) >= 0, name, "must not be negative")
        for name in ("ignorance", "forgotten", "taught"):
            check(0 <= getattr(self, name) < 1, name, "must be in [0, 1)")
        check(self.ignorance <= self.forgotten, "ignorance", "must not exceed `forgotten`, which it could never reach")
        check(self.learning_rate is None or self.learning_rate > 0, "learning_rate", "must be positive")
        check(self.negative + self.positive > 0, "negative", "and positive are both 0: nothing would be forgotten")

    def rate(self, hidden_size: int) -> float:
        """The learning rate: as given, or by the width of the model."""
        if self.learning_rate is not None:
            return self.learning_rate
        full = 1e-3 * float((192 / hidden_size) ** 1.5)
        return full * 10 if self.lora_rank else full
