"""Whether a model fits into this machine's memory."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from mlxk.errors import InsufficientMemory

_OVERHEAD = 1.2  # weights, and beside them the key/value cache and activations
_CGROUP = Path("/sys/fs/cgroup")
_MACOS_SHARE = 0.75  # Metal's recommended working set is about this part of unified memory


def needed_bytes(weights_bytes: int) -> int:
    return int(weights_bytes * _OVERHEAD)


def available_bytes(read: Callable[[Path], str] = lambda path: path.read_text(encoding="utf-8")) -> int | None:
    """What a new model may use: free memory within the cgroup limit on Linux, else a share of all; None: unknown."""
    if not sys.platform.startswith("linux"):
        return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * _MACOS_SHARE)
    found = [_meminfo_available(read), _cgroup_available(read)]
    return min((value for value in found if value is not None), default=None)


def check_fits(name: str, weights_bytes: int, available: int | None) -> None:
    """Raise InsufficientMemory, with both numbers, where the model cannot fit."""
    needed = needed_bytes(weights_bytes)
    if available is not None and needed > available:
        raise InsufficientMemory(
            f"{name} needs about {needed / 1e9:.1f} GB of memory, and {available / 1e9:.1f} GB are available. "
            "Close other programs, or take a smaller or more quantized model.",
            needed_bytes=needed,
            available_bytes=available,
        )


def _meminfo_available(read: Callable[[Path], str]) -> int | None:
    try:
        lines = read(Path("/proc/meminfo")).splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _cgroup_available(read: Callable[[Path], str]) -> int | None:
    """Limit less use of the cgroup (version 2) that we see as the root: a container's."""
    try:
        limit = read(_CGROUP / "memory.max").strip()
        used = int(read(_CGROUP / "memory.current"))
        cache = next(int(line.split()[1]) for line in read(_CGROUP / "memory.stat").splitlines() if line.startswith("file "))
    except (OSError, ValueError, StopIteration):
        return None
    return None if limit == "max" else max(0, int(limit) - used + cache)
