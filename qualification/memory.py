"""How much memory this machine has, how much is free, and how much a tree of processes holds; all in bytes."""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import psutil

from qualification.units import format_bytes

_UNLIMITED = 1 << 62
_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")
_MONITOR_SHARE = 0.01
"""Of one core: what measuring may cost. The proportional size of a large process takes milliseconds to read."""
_UNCHANGED = 0.02
_FLOOR_SHARE, _GUILTY_SHARE = 0.02, 0.1
"""Below this share of the machine's memory it is in distress, and a cell that holds at least that share has a part in it."""
_OUTGROWN = 1.25
_PRESSURE_CRITICAL = 4
"""kern.memorystatus_vm_pressure_level on macOS: 1 normal, 2 warning, 4 critical."""


@cache
def total_bytes() -> int:
    """The machine's memory, or a container's limit."""
    return min(psutil.virtual_memory().total, _limit_bytes())


def available_bytes() -> int:
    """What may be used now, without swapping."""
    return free()[0]


def free() -> tuple[int, int]:
    """What may be used now without swapping, and what is swapped out; read once for both, as it is read often."""
    available, swapped = _free_of_machine()
    limit = _limit_bytes()
    inside = max(0, limit - _used_in_cgroup()) if limit < _UNLIMITED else limit
    return min(available, inside), swapped


def _free_of_machine() -> tuple[int, int]:
    if sys.platform != "linux":
        return psutil.virtual_memory().available, psutil.swap_memory().used
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in _MEMINFO.read_text().splitlines())}
    return kib["MemAvailable"] << 10, (kib["SwapTotal"] - kib["SwapFree"]) << 10


def distress(held_bytes: int, limit_bytes: int, available: int | None = None) -> str:
    """Why a cell that holds so much must be stopped: more than a quarter above its need, or a machine at its end; else empty."""
    if limit_bytes and held_bytes > _OUTGROWN * limit_bytes:
        return f"it grew to {format_bytes(held_bytes)}, and its need is {format_bytes(limit_bytes)}"
    if held_bytes > _GUILTY_SHARE * total_bytes():
        left = available_bytes() if available is None else available
        if left < _FLOOR_SHARE * total_bytes() or _is_critical():
            return f"the machine had {format_bytes(left)} left while it held {format_bytes(held_bytes)}"
    return ""


class Meter:
    """Measures one tree of processes again and again, at no more than a hundredth of a core.

    Resident sizes are cheap and count shared pages many times; proportional ones (Linux) are exact and dear. So these are
    read again only where the cheap ones have moved, and scaled by them meanwhile.
    """

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._spent_s = 0.0
        self._resident = self._exact = 0

    def measure(self, processes: Iterable[psutil.Process], exactly: bool = False) -> int:
        """What they hold together; ``exactly`` where somebody is to be stopped for it."""
        living = list(processes)
        resident = sum(_resident(process) for process in living)
        moved = abs(resident - self._resident) > _UNCHANGED * self._resident
        within = self._spent_s <= _MONITOR_SHARE * (time.monotonic() - self._started)
        if exactly or (moved and (within or not self._exact)):
            began = time.thread_time()
            self._exact, self._resident = sum(_proportional(process) for process in living), resident
            self._spent_s += time.thread_time() - began
        return round(self._exact * resident / self._resident) if self._resident else 0


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _proportional(process: psutil.Process) -> int:
    """Proportional share where the system tells it (Linux), else what is this process's alone, else resident size."""
    try:
        full = process.memory_full_info()
        return int(getattr(full, "pss", 0) or getattr(full, "uss", 0) or full.rss)
    except psutil.Error:
        return 0


def _limit_bytes() -> int:
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        if (limit := _number(_CGROUP / name)) is not None:
            return limit
    return _UNLIMITED


def _used_in_cgroup() -> int:
    """Without the file cache that can go at any time."""
    for used, statistics, key in (
        ("memory.current", "memory.stat", "inactive_file"),
        ("memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
    ):
        if (count := _number(_CGROUP / used)) is not None:
            lines = (_CGROUP / statistics).read_text(encoding="ascii").splitlines()
            return count - int(dict(line.split() for line in lines).get(key, 0))
    return 0


def _number(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _is_critical() -> bool:
    if sys.platform != "darwin":
        return False
    level, size = ctypes.c_int(0), ctypes.c_size_t(ctypes.sizeof(ctypes.c_int))
    libc = ctypes.CDLL(None)
    failed = libc.sysctlbyname(b"kern.memorystatus_vm_pressure_level", ctypes.byref(level), ctypes.byref(size), None, 0)
    return failed == 0 and level.value >= _PRESSURE_CRITICAL
