"""Waits for threads so that an interrupt is heard: CPython's own waiting without a limit can miss one."""

from __future__ import annotations

import queue
from collections.abc import Collection, Iterator
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")

DEAF_S = 0.2
"""A signal that comes while the main thread gives up the interpreter's lock to begin a wait is noticed when the wait ends.

Seen with CPython 3.11 and 3.12 in one of ten interrupts on two busy cores: the handler had run, and nobody looked.
"""


def as_ended(futures: Collection[Future[T]]) -> Iterator[Future[T]]:
    """Each when it has ended, as ``concurrent.futures.as_completed``, and KeyboardInterrupt at most 0.2 s late.

    ``concurrent.futures.wait`` would take the locks of all of them for each look, and an interrupt could leave some taken.
    """
    ended: queue.SimpleQueue[Future[T]] = queue.SimpleQueue()
    for future in futures:
        future.add_done_callback(ended.put)
    for _ in futures:
        yield _next(ended)


def _next(ended: queue.SimpleQueue[Future[T]]) -> Future[T]:
    while True:
        try:
            return ended.get(timeout=DEAF_S)
        except queue.Empty:
            continue
