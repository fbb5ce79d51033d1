"""The C library's heap, where that is glibc: one for all threads, and what is free in it given back."""

from __future__ import annotations

import ctypes

_LIBC = ctypes.CDLL(None)
_M_ARENA_MAX = -8  # glibc's malloc.h


def share() -> None:
    """Give the threads that begin from now on no heap of their own: where only the main thread has one, all take from that.

    Otherwise there are up to eight for each core, and what is free in one is of no use to the others: of a server under mixed
    load they grow for hours.
    """
    if (mallopt := getattr(_LIBC, "mallopt", None)) is not None:
        mallopt(_M_ARENA_MAX, 1)


def trim() -> None:
    """Give back what is free between what is used, which glibc keeps until it is asked."""
    if (malloc_trim := getattr(_LIBC, "malloc_trim", None)) is not None:
        malloc_trim(0)
