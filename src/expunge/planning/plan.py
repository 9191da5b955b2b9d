"""Ways to unlearn a model on a machine, side by side, and the first that fits."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from expunge.planning.duration import Duration, duration_of
from expunge.planning.machine import Machine
from expunge.planning.memory import Memory, Way, memory_of
from expunge.planning.original import is_kept, kept_bytes
from expunge.planning.sizes import Sizes
from expunge.planning.workload import Workload
from expunge.training.config import UnlearnConfig


@dataclass(frozen=True, slots=True)
class Option:
    """One way on one machine. accumulation: the fewest parts of a step with which it fits, if it does with any."""

    way: Way
    memory: Memory
    duration: Duration
    fits: bool
    accumulation: int | None

    @property
    def name(self) -> str:
        """As it is called in tables."""
        method = {"full": "full", "lora": f"LoRA {self.way.rank}", "qlora": f"QLoRA {self.way.rank}"}[self.way.method]
        return f"{method}, checkpointing" if self.way.checkpointing else method

    def row(self) -> dict[str, Any]:
        """For JSON: bytes and seconds."""
        terms = {name: round(size) for name, size in self.memory.terms.items()}
        spent = dataclasses.asdict(self.duration) | {"most": self.duration.most}
        found = {"name": self.name, "fits": self.fits, "accumulation": self.accumulation}
        return found | {"bytes": terms | {"peak": round(self.memory.peak)}, "seconds_estimated": spent}


@dataclass(frozen=True, slots=True)
class Plan:
    """options: full training, LoRA, QLoRA (in one process); then the same with checkpointing."""

    sizes: Sizes
    work: Workload
    config: UnlearnConfig
    machine: Machine
    options: tuple[Option, ...]

    @property
    def first(self) -> Option | None:
        """The first that fits; then with more accumulation, which costs no work, before checkpointing, which does."""
        groups = [[o for o in self.options if o.way.checkpointing is spared] for spared in (False, True)]
        able = ([*(o for o in group if o.fits), *(o for o in group if o.accumulation)] for group in groups)
        return next(chain.from_iterable(able), None)

    @property
    def disk(self) -> int:
        """Bytes of what the original makes of the rows, if that is kept."""
        asked = (self.sizes, self.work, self.config)
        return kept_bytes(*asked) if is_kept(*asked, self.processes) else 0

    @property
    def processes(self) -> int:
        """That share weights and work out."""
        return self.options[0].way.processes

    def row(self) -> dict[str, Any]:
        """For JSON."""
        machine = {
            "name": self.machine.name,
            "count": self.processes,
            "bytes": round(self.machine.memory),
            "room": round(self.machine.room),
        }
        model = {"architecture": self.sizes.kind, "parameters": self.sizes.parameters}
        model["trained"] = self.sizes.trained(self.config.modules)
        step = {"forget_rows": self.config.forget_rows, "normal_rows": self.config.normal_rows}
        step |= {"accumulation": self.config.accumulation}
        first = {"name": self.first.name, "accumulation": self._parts(self.first)} if self.first else None
        rows = dataclasses.asdict(self.work)
        found = {"model": model, "machine": machine, "step": step, "rows": rows, "disk_bytes": self.disk}
        return found | {"options": [option.row() for option in self.options], "first": first}

    def _parts(self, option: Option) -> int | None:
        return self.config.accumulation if option.fits else option.accumulation


def plan(
    sizes: Sizes, work: Workload, config: UnlearnConfig, machine: Machine, *, rank: int, processes: int = 1
) -> Plan:
    """Every way to unlearn a model of these sizes. rank: of the adapters. processes: each with such a machine."""

    def option(way: Way) -> Option:
        memory = memory_of(sizes, work, config, way)
        parts = next((n for n in _parts(config) if _fits(sizes, work, config, way, machine, n)), None)
        spent = duration_of(sizes, work, config, way, machine)
        return Option(way, memory, spent, memory.peak <= machine.room, parts)

    whole = Way("full", cpu=machine.cpu, processes=processes, modules=config.modules)
    ways = [whole, dataclasses.replace(whole, method="lora", rank=rank)]
    if processes == 1:
        ways.append(dataclasses.replace(whole, method="qlora", rank=rank))
    ways += [dataclasses.replace(way, checkpointing=True) for way in ways]
    return Plan(sizes, work, config, machine, tuple(option(way) for way in ways))


def _parts(config: UnlearnConfig) -> Iterator[int]:
    """Numbers of parts to try: as configured, then doubled up to one for each row."""
    parts = config.accumulation
    yield parts
    while parts < config.normal_rows:
        parts *= 2
        yield parts


def _fits(sizes: Sizes, work: Workload, config: UnlearnConfig, way: Way, machine: Machine, parts: int) -> bool:
    split = dataclasses.replace(config, accumulation=parts)
    return memory_of(sizes, work, split, way).peak <= machine.room
