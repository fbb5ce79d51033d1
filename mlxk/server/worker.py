"""The engine thread: the only one that touches a model. Others hand it requests and read events."""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from mlxk import settings
from mlxk.engines import Engine, Event, Finished, Generation
from mlxk.errors import GenerationFailed, MlxkError, Unavailable
from mlxk.library import Model

log = logging.getLogger(__name__)

State = Literal["ok", "loading", "stopping", "dead"]

_POLL_S = 0.05  # how long a client that left can go unnoticed
_RETRY_AFTER_S = 5


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing has happened for a while, though the prompt is accepted."""


class Ticket:
    """One request on its way through the engine thread, as the thread that asked for it sees it."""

    def __init__(self, model: Model, request: Generation) -> None:
        self.model = model
        self.request = request
        self._events: queue.SimpleQueue[Event | MlxkError] = queue.SimpleQueue()
        self._cancelled = False

    def put(self, event: Event | MlxkError) -> None:
        self._events.put(event)

    def cancel(self) -> None:
        """The engine stops at the next token, or never begins."""
        self._cancelled = True

    def cancelled(self) -> bool:
        return self._cancelled

    def events(self, gone: Callable[[], bool], silence_s: float) -> Iterator[Event | Silence]:
        """What happens, until it is finished. Raises what went wrong; ends early, and cancels, once the client is gone."""
        silent_since = math.inf
        while not gone():
            try:
                event = self._events.get(timeout=_POLL_S)
            except queue.Empty:
                if time.monotonic() - silent_since >= silence_s:
                    silent_since = time.monotonic()
                    yield Silence()
                continue
            if isinstance(event, MlxkError):
                raise event
            silent_since = time.monotonic()
            yield event
            if isinstance(event, Finished):
                return
        self.cancel()


class Worker:
    """Answers requests one at a time, in the order in which they came; at most ``capacity`` wait.

    ``load`` is called, and the engine that it returns is used and closed, on the worker's own thread only; ``leave`` is
    called on it last.
    """

    def __init__(self, load: Callable[[Model], Engine], leave: Callable[[], None], capacity: int) -> None:
        self._load = load
        self._leave = leave
        self._capacity = capacity
        self._changed = threading.Condition()
        self._waiting: deque[Ticket] = deque()
        self._active: Ticket | None = None
        self._engine: Engine | None = None
        self._stopping = False
        self._state: State = "loading"
        self._thread = threading.Thread(target=self._live, name="engine", daemon=True)
        self._preload: Model | None = None
        self._on_death: Callable[[], None] = lambda: None
        self.loaded: Model | None = None
        self.failure: MlxkError | None = None

    def start(self, preload: Model | None = None, on_death: Callable[[], None] = lambda: None) -> None:
        """Begin; ``on_death`` is called on the thread if it ends unasked, and ``failure`` then says why."""
        self._preload = preload
        self._on_death = on_death
        self._state = "loading" if preload is not None else "ok"
        self._thread.start()

    @property
    def state(self) -> State:
        return "stopping" if self._stopping and self._state != "dead" else self._state

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def active(self) -> int:
        return int(self._active is not None)

    def submit(self, model: Model, requests: Sequence[Generation]) -> tuple[Ticket, ...]:
        """Take the requests, all of them, or raise Unavailable."""
        tickets = tuple(Ticket(model, request) for request in requests)
        with self._changed:
            if self.state in ("stopping", "dead"):
                raise Unavailable(f"The server takes no more requests: its engine is {self.state}.")
            self._waiting = deque(other for other in self._waiting if not other.cancelled())
            if len(self._waiting) + len(tickets) > self._capacity:
                message = f"{len(self._waiting)} requests are waiting already, and {self._capacity} may. Try again later."
                raise Unavailable(message, retry_after_s=_RETRY_AFTER_S)
            self._waiting.extend(tickets)
            self._changed.notify()
        return tickets

    def close(self) -> None:
        """Take no more requests; those taken are still answered."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def cancel_all(self) -> None:
        with self._changed:
            for ticket in (*self._waiting, *([self._active] if self._active else [])):
                ticket.cancel()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread to end; whether it has."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _live(self) -> None:
        try:
            if self._preload is not None:
                self._engine_for(self._preload)
                self._state = "ok"
            while (ticket := self._next()) is not None:
                self._answer(ticket)
                self._active = None
        except MlxkError as error:
            self._die(error)
        except BaseException as error:  # the end of the thread, which must not go unnoticed
            log.warning("The engine thread ended.", exc_info=settings.debug())
            self._die(MlxkError(f"The engine thread ended: {type(error).__name__}: {error}"))
        finally:
            self._unload()
            self._leave()

    def _next(self) -> Ticket | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stopping)
            self._active = self._waiting.popleft() if self._waiting else None
            return self._active

    def _answer(self, ticket: Ticket) -> None:
        """Whatever goes wrong belongs to this request alone."""
        try:
            if not ticket.cancelled():
                for event in self._engine_for(ticket.model).stream(ticket.request, ticket.cancelled):
                    ticket.put(event)
                    if isinstance(event, Finished):
                        return
            ticket.put(Unavailable("The request was cancelled because the server is stopping."))
        except MlxkError as error:
            ticket.put(error)
        except Exception as error:  # the boundary of the request
            log.warning("A request failed: %s: %s", type(error).__name__, error, exc_info=settings.debug())
            ticket.put(GenerationFailed(f"The engine failed: {type(error).__name__}: {error}"))

    def _engine_for(self, model: Model) -> Engine:
        """The engine of the model, which takes the place of another one's."""
        if self._engine is None or self.loaded is None or self.loaded.snapshot != model.snapshot:
            self._unload()
            log.info("Loading %s", model.name)
            self._engine = self._load(model)
            self.loaded = model
        return self._engine

    def _unload(self) -> None:
        if self._engine is not None:
            self._engine.close()
        self._engine = self.loaded = None

    def _die(self, error: MlxkError) -> None:
        with self._changed:
            self.failure = error
            self._state = "dead"
            tickets = [*self._waiting, *([self._active] if self._active else [])]
            self._waiting.clear()
        for ticket in tickets:
            ticket.put(Unavailable(f"The engine is dead. {error.message}"))
        self._on_death()
