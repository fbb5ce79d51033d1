"""What this machine is, as facts that gating and a bundle need; no user name, host name or serial number among them."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil

from qualification import memory
from qualification.declared import Tier
from qualification.errors import EnvironmentUnfitError
from qualification.portfolio import NOMINAL


@dataclass(frozen=True, slots=True)
class Machine:
    """Memory in bytes; ``ram_bytes`` respects a container's limit, ``available_bytes`` is what may be used now."""

    system: str
    release: str
    architecture: str
    processor: str
    cores: int
    ram_bytes: int
    available_bytes: int
    swap_used_bytes: int

    @property
    def at_once(self) -> int:
        """How many cells may run beside each other: two more than there are cores, for a third of its time a cell waits.

        With one more, two cores stood idle for 7 % of a release, and with two more for 5 %.
        """
        return self.cores + 2


def observe() -> Machine:
    """Reads this machine's facts now."""
    return Machine(
        system=platform.system(),
        release=platform.release(),
        architecture=platform.machine(),
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        ram_bytes=memory.total_bytes(),
        available_bytes=memory.available_bytes(),
        swap_used_bytes=psutil.swap_memory().used,
    )


def working_set_bytes(python: Path) -> int | None:
    """What Metal recommends to use at most, as MLX tells it in the environment of ``python``; None where there is no Metal.

    Raises EnvironmentUnfitError where MLX should tell and does not.
    """
    if platform.system() != "Darwin":
        return None
    try:
        return int(subprocess.check_output([python, "-c", _ASK_METAL], stderr=subprocess.DEVNULL, timeout=_ASK_TIMEOUT_S))
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise EnvironmentUnfitError(f"MLX does not tell how much memory Metal recommends ({error})") from error


_ASK_TIMEOUT_S = 60
_ASK_METAL = """
import mlx.core as mx
ask = getattr(mx, "device_info", None) or mx.metal.device_info
print(int(ask()["max_recommended_working_set_size"]))
"""


def tier_of(ram_bytes: int, tiers: tuple[Tier, ...]) -> Tier:
    """The one tier that a machine is in: the largest that it reaches, or the smallest when it reaches none."""
    ordered = sorted(tiers, key=lambda tier: tier.ram_bytes)
    reached = [tier for tier in ordered if ram_bytes >= NOMINAL * tier.ram_bytes]
    return reached[-1] if reached else ordered[0]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
