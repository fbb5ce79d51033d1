"""Waits for threads so that an interrupt is heard: CPython's own waiting without a limit can miss one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import TypeVar

T = TypeVar("T")

DEAF_S = 0.2
"""A signal that comes while the main thread gives up the interpreter's lock to begin a wait is noticed when the wait ends.

Seen with CPython 3.11 and 3.12 in one of ten interrupts on two busy cores: the handler had run, and nobody looked.
"""


def as_ended(futures: Iterable[Future[T]]) -> Iterator[Future[T]]:
    """Each when it has ended, as ``concurrent.futures.as_completed``, and KeyboardInterrupt at most 0.2 s late."""
    running = set(futures)
    while running:
        ended, running = wait(running, DEAF_S, FIRST_COMPLETED)
        yield from ended
