"""Time of an unlearning: an estimate from floating-point operations, bytes moved, and a stated use of the machine."""

from __future__ import annotations

from dataclasses import dataclass

from expunge.planning.machine import Machine
from expunge.planning.memory import QUANTIZED, Way, asked_at_once
from expunge.planning.mirror import ADVERSARY_STEPS
from expunge.planning.original import is_kept, rows_asked
from expunge.planning.sizes import Sizes
from expunge.planning.workload import Step, Workload
from expunge.training.config import UnlearnConfig

ADAM = 28
"""Bytes moved for each trained parameter in a step of AdamW: weight and two moments read and written, gradient read."""


@dataclass(frozen=True, slots=True)
class Duration:
    """Seconds, an estimate. step: one step. round: one judging of the forget set, if any. reference: the original's
    outputs, before the first step. steps: at most so many, with a judging every `every`."""

    step: float
    round: float
    reference: float
    steps: int
    every: int

    @property
    def most(self) -> float:
        """Of all steps, if training does not stop before."""
        return self.reference + self.steps * self.step + self.steps / self.every * self.round


def duration_of(sizes: Sizes, work: Workload, config: UnlearnConfig, way: Way, machine: Machine) -> Duration:
    """Of one way to unlearn on one machine."""
    rows = sum(rows_asked(work, config).values()) if is_kept(sizes, work, config, way.processes) else 0
    return Duration(
        step=step_seconds(sizes, work, config, way, machine),
        round=_round_seconds(sizes, work, way, machine) if config.judged else 0.0,
        reference=rows * forward(sizes, work.row, work.response) / _rate(machine, single=way.single(sizes)),
        steps=config.max_steps,
        every=config.judge_every,
    )


def forward(sizes: Sizes, tokens: int, response: int) -> float:
    """Floating-point operations of one row: 2 for each weight and token, 4 × tokens² × queries a layer for attention,
    and 2 × vocabulary × hidden for each response token."""
    return 2 * sizes.linear * tokens + 4 * sizes.layers * sizes.queries * tokens**2 + 2 * sizes.table * response


def step_seconds(sizes: Sizes, work: Workload, config: UnlearnConfig, way: Way, machine: Machine) -> float:
    """Of one step: all its parts, the reference where it is not kept, and the optimizer.

    The backward pass takes as much as the forward for the gradients of what flows, and with full training once more
    for those of the weights (6 N and 4 N a token in all); attention's takes twice the forward, and goes over all of a
    sequence; checkpointing adds a forward. An adversary's passes are those of every second step, as it is until the
    model settles. The output layer's gradient goes to what it reads alone; of kept rows the
    original's output layer is asked too. What processes send each other is not counted.
    """
    parts = work.step(config, way.processes)
    rate = _rate(machine, single=way.single(sizes))
    head, times = 2 * sizes.table * work.response, 3 if way.method == "full" else 2

    def operations(step: Step) -> tuple[float, float]:
        """In a forward: in matrices, and in attention."""
        return 2 * sizes.linear * step.tokens, 4 * sizes.layers * sizes.queries * step.columns * step.tokens

    matrices, attention = operations(parts)
    spared = way.checkpointing
    flops = (times + spared) * matrices + (3 + spared) * attention + (2 * parts.rows + parts.kept) * head
    seconds = config.accumulation * flops / rate
    if config.adversary_step(adapter=way.rank > 0) > 0:
        old, beside = operations(work.attack())
        seconds += ADVERSARY_STEPS / 2 * (times * old + 3 * beside + 2 * work.attack().rows * head) / rate
    if not is_kept(sizes, work, config, way.processes):
        again = (matrices + attention) * parts.kept / parts.rows
        seconds += config.accumulation * again / rate
    return seconds + ADAM * way.held(sizes) / machine.bandwidth


def _round_seconds(sizes: Sizes, work: Workload, way: Way, machine: Machine) -> float:
    """Old responses read, new ones written: token by token, each reads all weights once for a batch."""
    rate = _rate(machine, single=way.single(sizes))
    new = work.new
    each = QUANTIZED if way.method == "qlora" else way.stored(sizes)
    batches = -(-work.forget // asked_at_once(sizes, work))
    written = 2 * (sizes.linear + sizes.table) * work.forget * new / rate
    moved = batches * new * each * sizes.parameters / machine.bandwidth
    read = work.forget * (forward(sizes, work.row, work.response) + forward(sizes, work.prompt, 1)) / rate
    return read + max(written, moved)


def _rate(machine: Machine, *, single: bool) -> float:
    return machine.used * (machine.single if single else machine.half)
