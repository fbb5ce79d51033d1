"""Whether a model fits into this machine's memory."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from mlxk.errors import InsufficientMemory

_OVERHEAD = 1.2  # weights, and beside them the key/value cache and activations
_PROCESS_CGROUPS = Path("/proc/self/cgroup")
_CGROUPS = Path("/sys/fs/cgroup")
_LARGE_MAC_BYTES = 36 << 30

Read = Callable[[Path], str]


def needed_bytes(weights_bytes: int) -> int:
    return int(weights_bytes * _OVERHEAD)


def available_bytes() -> int | None:
    """What a new model may use on this machine; None: unknown."""
    if sys.platform == "darwin":
        return recommended_working_set(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), _wired_limit_mb())
    return linux_available_bytes()


def recommended_working_set(unified_bytes: int, wired_limit_mb: int = 0) -> int:
    """The part of unified memory that Metal recommends to use, as its devices report it; macOS pages the rest out for it.

    8 GiB: 5.33, 16: 10.67, 32: 21.33, 36: 27, 64: 48, 128: 96. ``sysctl iogpu.wired_limit_mb`` sets another part.
    """
    share = unified_bytes * 3 // 4 if unified_bytes >= _LARGE_MAC_BYTES else unified_bytes * 2 // 3
    return min(unified_bytes, wired_limit_mb << 20 or share)


def linux_available_bytes(read: Read = lambda path: path.read_text(encoding="utf-8")) -> int | None:
    """The least of what the kernel calls available and of what the limits of our cgroups leave."""
    found = [_meminfo_available(read), *_cgroups_available(read)]
    return min((value for value in found if value is not None), default=None)


def for_prompts(available: int | None) -> int:
    """How much of it may hold what was read before, for prompts that begin in the same way: an eighth, and 8 GiB at most."""
    return min(8 << 30, (available if available is not None else 8 << 30) // 8)


def check_fits(name: str, weights_bytes: int, available: int | None) -> None:
    """Raise InsufficientMemory, with both numbers, where the model cannot fit."""
    needed = needed_bytes(weights_bytes)
    if available is not None and needed > available:
        raise InsufficientMemory(
            f"{name} needs about {_size(needed)} of memory, and {_size(available)} are available. "
            "Close other programs, or take a smaller or more quantized model.",
            needed_bytes=needed,
            available_bytes=available,
        )


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _meminfo_available(read: Read) -> int | None:
    try:
        lines = read(Path("/proc/meminfo")).splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _cgroups_available(read: Read) -> Iterator[int | None]:
    """What each limit above us leaves: a container sees its own cgroup as the root, a service is some way below it.

    The form of /proc/self/cgroup is ``id:controllers:path``; version 2 has no controllers in it.
    Source: https://docs.kernel.org/admin-guide/cgroup-v2.html, https://docs.kernel.org/admin-guide/cgroup-v1/memory.html
    """
    try:
        lines = read(_PROCESS_CGROUPS).splitlines()
    except OSError:
        lines = []
    places = {"": "/", "memory": "/"}
    for _, controllers, path in (line.split(":", 2) for line in lines):
        places |= dict.fromkeys(controllers.split(","), path)
    for folder in _and_above(places[""]):
        yield _left(read, _CGROUPS / folder, "memory.max", "memory.current", "file")
    for folder in _and_above(places["memory"]):
        files = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_cache")
        yield _left(read, _CGROUPS / "memory" / folder, *files)


def _and_above(path: str) -> Iterator[str]:
    inside = PurePosixPath(path.lstrip("/"))
    return (str(folder) for folder in (inside, *inside.parents))


def _left(read: Read, folder: Path, limit_file: str, usage_file: str, cache_key: str) -> int | None:
    """Limit less use, of which the page cache does not count: the kernel gives it back."""
    try:
        limit, used = read(folder / limit_file).strip(), int(read(folder / usage_file))
        stat = dict(line.split() for line in read(folder / "memory.stat").splitlines())
        return None if limit == "max" else max(0, int(limit) - used + int(stat[cache_key]))
    except (OSError, ValueError, LookupError):
        return None


def _wired_limit_mb() -> int:
    """What the administrator set, or 0."""
    libc = ctypes.CDLL(None)
    value, size = ctypes.c_int64(0), ctypes.c_size_t(8)
    failed = libc.sysctlbyname(b"iogpu.wired_limit_mb", ctypes.byref(value), ctypes.byref(size), None, ctypes.c_size_t(0))
    return 0 if failed else max(0, value.value)
