"""Machines to plan for: a table of GPUs, or the one at hand."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from expunge.errors import InputError

GIB = 2**30
_MODEL = re.compile(r"[A-Z]?\d+S?")


@dataclass(frozen=True, slots=True)
class Machine:
    """Where to unlearn.

    memory: bytes. reserve: bytes of it that the runtime takes (CUDA's context, loaded libraries). spare: the share that
    the allocator cannot use for want of one piece. half, single: multiplications and additions a second in bfloat16
    and in float32. bandwidth: bytes a second. used: share of the rate that training reaches. cpu: whether it is one,
    where all weights are float32.
    """

    name: str
    memory: float
    reserve: float
    spare: float
    half: float
    single: float
    bandwidth: float
    used: float
    cpu: bool = False

    @property
    def room(self) -> float:
        """Bytes for what is planned."""
        return self.memory * (1 - self.spare) - self.reserve


def _gpu(name: str, gib: float, half: float, single: float, bandwidth: float) -> Machine:
    """Rates in TFLOP/s, bandwidth in GB/s. Reserve, spare and use are estimates: no GPU was measured."""
    return Machine(name, gib * GIB, 0.75 * GIB, 0.05, half * 1e12, single * 1e12, bandwidth * 1e9, 0.4)


GPUS: Mapping[str, Machine] = {
    "h200": _gpu("NVIDIA H200 SXM", 140, 989, 67, 4800),
    "h100": _gpu("NVIDIA H100 SXM", 79, 989, 67, 3350),
    "h100-pcie": _gpu("NVIDIA H100 PCIe", 79, 756, 51, 2000),
    "a100-80": _gpu("NVIDIA A100 80GB SXM", 79, 312, 19.5, 2039),
    "a100-40": _gpu("NVIDIA A100 40GB SXM", 39, 312, 19.5, 1555),
    "l40s": _gpu("NVIDIA L40S", 45, 362, 91.6, 864),
    "l4": _gpu("NVIDIA L4", 22.5, 121, 30.3, 300),
    "4090": _gpu("NVIDIA GeForce RTX 4090", 24, 165, 82.6, 1008),
    "3090": _gpu("NVIDIA GeForce RTX 3090", 24, 71, 35.6, 936),
}
"""Memory as nvidia-smi shows it (GiB, rounded down), dense bfloat16 and float32 rates, bandwidth.

Sources: NVIDIA's data sheets of H200, H100, A100, L40S and L4 (rates given there "with sparsity" halved), and
appendix A of the whitepapers of Ada (4090) and of GA102 (3090), tensor cores with float32 accumulation.
"""


def machine_of(name: str | None) -> Machine:
    """A GPU of the table, or, without a name, the machine at hand, which takes torch to ask.

    Raises:
        InputError: no GPU of that name is in the table.
    """
    if name is None:
        return _at_hand()
    found = GPUS.get(name.lower())
    if found is None:
        close = [gpu for gpu in GPUS if gpu.startswith(name.lower())] or get_close_matches(name.lower(), GPUS, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise InputError(
            f"unknown GPU {name!r}.{hint}", remedy=f"Known: {', '.join(GPUS)}. Without --gpu: this machine."
        )
    return found


def _at_hand() -> Machine:
    """What `expunge.model.load_model` would take: the first accelerator, else the CPU. Its rate is measured."""
    import torch

    from expunge.host import suit_host

    device = torch.accelerator.current_accelerator(check_available=True)
    if device is None:
        threads = suit_host()
        rate = _rate("cpu", torch.float32)
        return Machine(f"this CPU, {threads} threads", _free(), 0.5 * GIB, 0.0, rate, rate, 20e9, 0.6, cpu=True)
    if device.type == "cuda":
        name, memory = torch.cuda.get_device_name(device), float(torch.cuda.mem_get_info(device)[1])
    else:
        name, memory = device.type, _free()
    half, single = _rate(device.type, torch.bfloat16), _rate(device.type, torch.float32)
    known = _known(name, memory)
    bandwidth = known.bandwidth if known else 300e9
    return Machine(f"this machine's {name}", memory, 0.75 * GIB, 0.05, half, single, bandwidth, 0.5)


def _known(name: str, memory: float) -> Machine | None:
    """The GPU of the table that a driver calls so: the same model, such as 3090 or A100, with memory within a tenth."""
    words = set(re.split(r"[\s-]+", name))
    alike = (gpu for gpu in GPUS.values() if abs(gpu.memory / memory - 1) < 0.1 and not words & {"Ti", "Laptop"})
    same = (gpu for gpu in alike if next(w for w in gpu.name.split() if _MODEL.fullmatch(w)) in words)
    return max(same, key=lambda gpu: len(words & set(gpu.name.split())), default=None)


def _rate(device: str, dtype: object, size: int = 1024) -> float:
    """The best of several products of square matrices, in operations a second; a fifth of a second in all."""
    import torch

    a = torch.ones(size, size, device=device, dtype=dtype)  # type: ignore[call-overload]
    best, begin = 0.0, time.perf_counter()
    while time.perf_counter() - begin < 0.2:
        start = time.perf_counter()
        (a @ a)[0, 0].item()  # the copy waits for the device
        best = max(best, 2 * size**3 / (time.perf_counter() - start))
    return best


def _free() -> float:
    """Bytes of main memory that are free, or that there are, where the system does not say."""
    table = Path("/proc/meminfo")
    if table.exists():
        lines = (line.split() for line in table.read_text(encoding="ascii").splitlines())
        return next(float(words[1]) * 1024 for words in lines if words[0] == "MemAvailable:")
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
