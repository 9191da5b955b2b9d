"""Settings of one unlearning, with their cross-checks. The defaults were chosen by measurement."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from expunge.errors import InputError, did_you_mean
from expunge.objective.methods import METHODS, Method
from expunge.training.unread import refuse_unread

EPSILON = 0.08
"""Adam's ε as a share of the root mean square of a gradient of norm 1. Below it a weight's steps shrink with its
gradient: those that matter to no term stay where they are, and with them ability that no normal row shows."""

ADAPTER: Mapping[str, float] = {"ignorance": 1e-5, "forgotten": 0.003}
"""What the default method sets otherwise for an adapter, which pushes less of a response than all weights do."""

_AT_LEAST_1 = ("max_steps", "forget_rows", "normal_rows", "accumulation", "judge_every")
_AT_LEAST_0 = (
    "negative_weight", "positive_weight", "normal_weight", "hidden_weight", "normal_budget", "normal_limit",
    "warmup_steps", "noise", "sharpness", "lora_rank",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class UnlearnConfig:
    """How to unlearn. Made with `of`, which fills in what a method sets.

    method: a row of `objective.methods.METHODS`. terms: others than the method's, by their names in
        `objective.terms.TERMS`, at most one for each weight. options: of the terms, by name.
    negative_weight, positive_weight, normal_weight: of the three terms; 0 leaves a term out.
    hidden_weight: of the normal term in hidden space, after the middle and the last layer.
    normal_limit: instead of a fixed weight, keep the normal loss below so many nats a token: `normal_weight` becomes a
        multiplier λ ← max(0, λ + normal_weight · (loss − limit)) (PDU, arXiv 2506.05314). 0: fixed.
    judged: the judge decides which rows are active, and when to stop. Without it all rows are trained on for
        `max_steps`, at a rate that falls to 0 in a line.
    ignorance: probability of a token at fault at which it is left alone (q in `objective.negative.distance`). The
        default method has another for LoRA, and so it has of `forgotten` (`ADAPTER`).
    forgotten: a dialogue leaves the active set when the mean probability of its tokens at fault is at most this, no
        judge flags the greedy answer, and that answer is like an expected output. It comes back when one of these
        fails, the first by a factor of three. Where rows that were never seen are given, their level takes the place of
        `forgotten`.
    settle_steps: once one dialogue in ten is active, so many steps on all rows, at a rate that falls to 0; then all are
        judged once more. If any is still active, training goes on at half the rate; if none is, but ordinary outputs
        are not back (a normal loss that began at 0 is over 0.05 nats a token), it settles again, with twice the
        `normal_weight`.
    normal_budget: stop when the mean normal loss from one judging to the next (nats per token) exceeds this twice
        running. Before it settles, a model that ends well may lose more than a nat.
    learning_rate: default 2e-3 · (192 / hidden size)^1.5, and not above 2e-3; twice that for LoRA,
        four times with the default method, whose hidden states hold what is kept.
    epsilon: Adam's ε; default: EPSILON over the root of the number of weights.
    forget_rows, normal_rows: dialogues in a step, an ordinary one with and without its thought counted once;
        accumulation: parts in which a step is computed.
    judge_every: steps from one judging of the active set to the next; also the interval of checkpoints.
    modules: what is trained: `matrices` (all weight matrices but the embeddings and the output layer, whose change
        reaches every token), `all`, or a regular expression that is looked for in parameters' names.
    lora_rank: 0 trains the weights themselves. dora: LoRA with lengths and directions apart (arXiv 2402.09353).
    base_bits: 4 holds the base's linear layers in NF4 while an adapter is trained on them (QLoRA, arXiv 2305.14314).
        0: as they are.
    sharded: each of several processes holds a part of every matrix instead of the whole model (FSDP2, arXiv
        2304.11277).
    checkpointing: activations are computed anew in the backward pass, layer by layer: a third more work, a fraction of
        their memory.
    liger: on a GPU, norms, rotary positions and gated layers by fused kernels (Liger, arXiv 2410.10989).
    noise: added to the embeddings while training (α of NEFTune, arXiv 2310.05914), so that what is learnt on one
        phrasing holds on another. Drawn for each forward, so another accumulation gives other losses; with 0 the same.
    adversary: until the model settles, every second step is taken where an adversary has got who relearns by steps of
        so many learning rates, so that fine-tuning brings back little (`training.adversary`). 0: none. Default: 0.4;
        0.1 where tokens go to the level of never-seen rows, a loss that does not fade as they are forgotten; none for
        LoRA, where it costs ability and gains little.
    surgery: what of the forgetting gradient opposes the normal one is taken out of it.
    sharpness: length of a step uphill, along Adam's mean gradient, at which gradients are taken (momentum
        SAM, arXiv 2401.12033), so that a little more training does not undo the forgetting.
    bits: every second step is taken as the model is with weights rounded to so many bits (straight through), so that
        rounding does not undo it. 0: none.
    """

    seed: int = 0
    method: str = "default"
    terms: tuple[str, ...] = ()
    options: Mapping[str, float] = field(default_factory=dict)
    max_steps: int = 600
    learning_rate: float | None = None
    epsilon: float | None = None
    warmup_steps: int = 10
    forget_rows: int = 12
    normal_rows: int = 36
    accumulation: int = 1
    negative_weight: float = 2.0
    positive_weight: float = 3.0
    normal_weight: float = 2.0
    hidden_weight: float = 4.0
    normal_limit: float = 0.0
    judged: bool = True
    ignorance: float = 0.0001
    forgotten: float = 0.01
    normal_budget: float = 1.0
    judge_every: int = 20
    settle_steps: int = 120
    modules: str = "matrices"
    lora_rank: int = 0
    dora: bool = False
    base_bits: int = 0
    sharded: bool = False
    checkpointing: bool = False
    liger: bool = False
    noise: float = 1.0
    adversary: float | None = None
    surgery: bool = False
    sharpness: float = 0.0
    bits: int = 0

    @classmethod
    def of(cls, method: str = "default", *, never_seen: bool = False, **given: Any) -> UnlearnConfig:
        """The settings of a method, those of the default for an adapter where one is trained, but for what is given.

        never_seen: whether there are rows that were never seen, whose level some settings give way to.

        Raises:
            InputError: no such method, settings that do not go together, or one given that nothing reads.
        """
        adapter = ADAPTER if method == "default" and given.get("lora_rank") else {}
        found = cls(method=method, **{**method_of(method).settings, **adapter, **given})
        refuse_unread(found, given, never_seen=never_seen)
        return found

    def __post_init__(self) -> None:
        def check(right: bool, name: str, rule: str) -> None:
            if not right:
                raise InputError(f"{name} = {getattr(self, name)}: {rule}")

        for name in (f.name for f in dataclasses.fields(self)):
            value = getattr(self, name)
            check(not isinstance(value, float) or math.isfinite(value), name, "must be finite")
        for name in _AT_LEAST_1:
            check(getattr(self, name) >= 1, name, "must be at least 1")
        for name in _AT_LEAST_0:
            check(getattr(self, name) >= 0, name, "must not be negative")
        for name in ("ignorance", "forgotten"):
            check(0 <= getattr(self, name) < 1, name, "must be in [0, 1)")
        for name in ("learning_rate", "epsilon"):
            check(getattr(self, name) is None or getattr(self, name) > 0, name, "must be positive")
        check(self.adversary is None or self.adversary >= 0, "adversary", "must not be negative")
        settles = self.judged and self.settle_steps % self.judge_every
        check(not settles, "settle_steps", "must be a multiple of judge_every")
        check(self.ignorance <= self.forgotten, "ignorance", "must not exceed `forgotten`, which it could never reach")
        check(self.negative_weight + self.positive_weight > 0, "negative_weight", "and positive_weight are both 0")
        check(self.bits == 0 or 2 <= self.bits <= 8, "bits", "must be 0, or from 2 to 8")
        check(not (self.bits and self.lora_rank), "bits", "an adapter's weights are not what is rounded")
        check(not (self.dora and not self.lora_rank), "dora", "needs a lora_rank")
        check(self.base_bits in (0, 4), "base_bits", "must be 0 or 4")
        check(not (self.base_bits and not self.lora_rank), "base_bits", "needs a lora_rank (--lora)")
        check(not (self.sharded and self.base_bits), "sharded", "a base in 4 bits is not shared out")
        check(not (self.sharded and self.modules == "all"), "sharded", "the output layer is left as it is: no `all`")
        for name in ("surgery", "sharpness", "bits"):
            check(not (self.sharded and getattr(self, name)), name, "not where weights are shared out (sharded)")
        check(not (self.modules == "all" and self.lora_rank), "modules", "an adapter takes `matrices` or an expression")
        check(_is_expression(self.modules), "modules", "is no regular expression")
        method_of(self.method)
        if self.terms or self.options:
            self._check_terms()

    def _check_terms(self) -> None:
        from expunge.objective.terms import TERMS

        terms = [TERMS[_known(name, list(TERMS), "term")] for name in self.terms or method_of(self.method).terms]
        slots = [term.slot for term in terms]
        twice = next((slot for slot in slots if slots.count(slot) > 1), None)
        if twice:
            raise InputError(f"terms = {list(self.terms)}: more than one is {twice}", remedy="Leave all but one out.")
        idle = next((term.slot for term in terms if self.terms and not self.weights[term.slot]), None)
        if idle is not None:
            remedy = f"Give it one, or leave the term out; {self.method!r} gives it none by itself."
            raise InputError(f"terms = {list(self.terms)}: the {idle} one has no {idle}_weight", remedy=remedy)
        optional = [TERMS[name] for name in self.named_terms(never_seen=True)]
        for name in self.options:
            _known(name, sorted({name for t in (*terms, *optional) for name in t.options} - {"ignorance"}), "option")

    @property
    def result(self) -> str:
        """Name of the folder in which a training leaves what it has trained."""
        return "adapter" if self.lora_rank else "model"

    @property
    def weights(self) -> dict[str, float]:
        """Of the terms, by name."""
        names = ("negative", "positive", "normal", "hidden")
        return {name: getattr(self, f"{name}_weight") for name in names}

    def named_terms(self, *, never_seen: bool) -> tuple[str, ...]:
        """Names of the terms. With never-seen dialogues a method's `distance` gives way to `match`: tokens go to the
        level that these have, and not only down to ignorance."""
        if self.terms:
            return self.terms
        names = method_of(self.method).terms
        return tuple("match" if never_seen and name == "distance" else name for name in names)

    def rate(self, hidden_size: int) -> float:
        """The learning rate: as given, or by the width of the model."""
        if self.learning_rate is not None:
            return self.learning_rate
        full = 2e-3 * float(min(1.0, 192 / hidden_size) ** 1.5)
        adapter = 4 if self.method == "default" else 2
        return full * adapter if self.lora_rank else full

    def adversary_step(self, *, adapter: bool, levels: bool = False) -> float:
        """Of an adversary, in learning rates: where an adapter is trained, and where tokens go to levels or not."""
        if self.adversary is not None:
            return self.adversary
        return 0.0 if adapter else 0.1 if levels else 0.4

    def adam_epsilon(self, weights: int) -> float:
        """Adam's ε, where so many weights are trained."""
        return EPSILON / math.sqrt(weights) if self.epsilon is None else self.epsilon


def method_of(name: str) -> Method:
    """The method of this name.

    Raises:
        InputError: there is none.
    """
    return METHODS[_known(name, list(METHODS), "method")]


def _known(name: str, names: Sequence[str], what: str) -> str:
    if name not in names:
        hint = did_you_mean(name, names)
        fault = f"unknown {what} {name!r}" + (f".{hint}" if hint else "")
        raise InputError(fault, remedy=f"Known: {', '.join(names) or 'none'}.")
    return name


def _is_expression(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True
