"""Requests on their way between the thread that was asked and the engine thread. Only plain data passes."""

from __future__ import annotations

import math
import queue
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mlxk.engines import Event, Finished, Generation
from mlxk.errors import DeadlineExceeded, MlxkError
from mlxk.library import Model

_POLL_S = 0.05  # how long a client that left can go unnoticed


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing has happened for a while, though a prompt is accepted."""


Happened = tuple[int, Event | MlxkError]


class Ticket:
    """One request as the engine thread sees it; ``index`` counts those that one client asked for together."""

    def __init__(self, model: Model, request: Generation, index: int, events: queue.SimpleQueue[Happened]) -> None:
        self.model = model
        self.request = request
        self.ended = False
        self._index = index
        self._events = events
        self._cancelled = False

    def put(self, event: Event | MlxkError) -> None:
        self.ended = isinstance(event, (Finished, MlxkError))
        self._events.put((self._index, event))

    def cancel(self) -> None:
        """The engine stops at the next token, or never begins."""
        self._cancelled = True

    def cancelled(self) -> bool:
        return self._cancelled


class Exchange:
    """What one client asked for, as the thread that answers it sees it. It may take ``limit_s``, counted from now."""

    def __init__(self, model: Model, requests: Sequence[Generation], limit_s: float = math.inf) -> None:
        self._events: queue.SimpleQueue[Happened] = queue.SimpleQueue()
        self._limit_s = limit_s
        self._deadline = time.monotonic() + limit_s
        self.tickets = tuple(Ticket(model, request, index, self._events) for index, request in enumerate(requests))

    def cancel(self) -> None:
        for ticket in self.tickets:
            ticket.cancel()

    def events(self, gone: Callable[[], bool], silence_s: float) -> Iterator[tuple[int, Event | Silence]]:
        """What happens, with the index of its request, until all are finished. Raises what went wrong first.

        Ends early, and cancels, once the client is gone.
        """
        unfinished = len(self.tickets)
        silent_since = math.inf
        while unfinished and not gone():
            now = time.monotonic()
            if now >= self._deadline:
                self.cancel()
                raise DeadlineExceeded(f"The answer was not complete after {self._limit_s:g} s, and may take no longer here.")
            try:
                index, event = self._events.get(timeout=_POLL_S)
            except queue.Empty:
                if now - silent_since >= silence_s:
                    silent_since = now
                    yield 0, Silence()
                continue
            if isinstance(event, MlxkError):
                raise event
            silent_since = now
            unfinished -= isinstance(event, Finished)
            yield index, event
        if unfinished:
            self.cancel()
