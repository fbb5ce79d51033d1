"""The threads that answer requests: waitress's, made once they are needed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from waitress.task import ThreadedTaskDispatcher  # type: ignore[import-untyped]

log = logging.getLogger(__name__)


class Threads(ThreadedTaskDispatcher):  # type: ignore[misc]
    """As many threads as were ever busy at the same time: most are never needed, and each keeps memory that it once used.

    One whose answer is out is busy until it has looked for the next request.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most
        self._growing = threading.Lock()
        self.set_thread_count(1)

    def add_task(self, task: Any) -> None:
        """Where the system gives no more threads, requests wait for one of those that are there."""
        try:
            with self._growing:
                super().add_task(task)
                if self._short() and len(self.threads) < self._most:
                    self.set_thread_count(len(self.threads) + 1)
        except (RuntimeError, MemoryError) as error:
            log.warning("No thread can be started beside %d, and requests wait for one of them: %s.", len(self.threads), error)

    def _short(self) -> bool:
        with self.lock:
            free = len(self.threads) - self.active_count
            return bool(len(self.queue) > free)

    def start_new_thread(self, target: Callable[..., None], thread_no: int) -> None:
        try:
            super().start_new_thread(target, thread_no)
        except BaseException:
            self.threads.discard(thread_no)  # who called has put it there
            raise

    def shutdown(self, cancel_pending: bool = True, timeout: float = 5) -> bool:
        with self._growing:
            self._most = 0
        return bool(super().shutdown(cancel_pending, timeout))
