"""The threads that answer requests: waitress's, made once they are needed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from waitress.task import ThreadedTaskDispatcher  # type: ignore[import-untyped]

log = logging.getLogger(__name__)


class Threads(ThreadedTaskDispatcher):  # type: ignore[misc]
    """As many threads as there were requests at the same time: most are never needed, and each keeps memory that it once used."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most
        self._growing = threading.Lock()
        self.set_thread_count(1)

    def add_task(self, task: Any) -> None:
        with self._growing:
            super().add_task(task)
            free = len(self.threads) - self.active_count
            if len(self.queue) > free and len(self.threads) < self._most:
                self.set_thread_count(len(self.threads) + 1)

    def start_new_thread(self, target: Callable[..., None], thread_no: int) -> None:
        """Where the system gives no more threads, requests wait for one of those that are there."""
        try:
            super().start_new_thread(target, thread_no)
        except RuntimeError as error:
            self.threads.discard(thread_no)
            if not self.threads:
                raise
            self.active_count -= 1  # who called counts it
            log.warning("Requests are answered by %d threads, and more may come: %s", len(self.threads), error)

    def shutdown(self, cancel_pending: bool = True, timeout: float = 5) -> bool:
        with self._growing:
            self._most = 0
        return bool(super().shutdown(cancel_pending, timeout))
