"""What the kernel does for a process at its parent's end, or for a parent at its descendants': Linux alone, by prctl(2)."""

from __future__ import annotations

import contextlib
import signal
import sys

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
"""linux/prctl.h."""


def adopt_orphans() -> bool:
    """Makes descendants whose parents end this process's children, instead of init's. False where the system cannot."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_with_parent() -> bool:
    """Has the kernel kill this process when its parent ends, whatever it is doing. False where the system cannot."""
    return _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, value: int) -> bool:
    if sys.platform != "linux":
        return False
    import ctypes  # noqa: PLC0415 - where it helps

    with contextlib.suppress(OSError, AttributeError):
        return bool(ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0) == 0)
    return False
