"""The engine thread: the only one that touches a model."""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from mlxk import engines, settings
from mlxk.compatibility import Modality
from mlxk.engines import Batch, Engine, Generation
from mlxk.errors import MlxkError, Unavailable
from mlxk.library import Model
from mlxk.server.tickets import Exchange, Ticket

log = logging.getLogger(__name__)

State = Literal["ok", "loading", "stopping", "dead"]

_RETRY_AFTER_S = 5


@dataclass(frozen=True, slots=True)
class Limits:
    """``waiting`` requests beside ``together`` that are answered at the same time.

    ``prompt_cache_bytes`` None: a part of what is free when the model is loaded. A request that is not answered within
    ``request_s`` fails; a model that nobody has asked for during ``idle_s`` is unloaded.
    """

    waiting: int = 64
    together: int = 8
    prompt_cache_bytes: int | None = None
    request_s: float = math.inf
    idle_s: float | None = None


class Worker:
    """Answers requests in the order in which they came, those of one model together.

    ``load`` is called, and the engine that it returns is used and closed, on the worker's own thread only; ``leave`` is
    called on it last.
    """

    def __init__(self, load: Callable[[Model, Modality], Engine], leave: Callable[[], None], limits: Limits) -> None:
        self._load = load
        self._leave = leave
        self._limits = limits
        self._changed = threading.Condition()
        self._waiting: deque[Ticket] = deque()
        self._active: list[Ticket] = []
        self._engine: Engine | None = None
        self._batch: Batch | None = None
        self._stopping = False
        self._state: State = "loading"
        self._thread = threading.Thread(target=self._live, name="engine", daemon=True)
        self._preload: Model | None = None
        self._on_death: Callable[[], None] = lambda: None
        self._loaded_for: Modality = "text"
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
        return len(self._active)

    def submit(self, model: Model, requests: Sequence[Generation]) -> Exchange:
        """Take the requests, all of them, or raise Unavailable."""
        exchange = Exchange(model, requests, self._limits.request_s)
        with self._changed:
            if self.state in ("stopping", "dead"):
                raise Unavailable(f"The server takes no more requests: its engine is {self.state}.")
            self._waiting = deque(other for other in self._waiting if not other.cancelled())
            if len(self._waiting) + len(requests) > self._limits.waiting:
                message = f"{len(self._waiting)} requests are waiting already, and {self._limits.waiting} may. Try again later."
                raise Unavailable(message, retry_after_s=_RETRY_AFTER_S)
            self._waiting.extend(exchange.tickets)
            self._changed.notify()
        return exchange

    def close(self) -> None:
        """Take no more requests; those taken are still answered."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def cancel_all(self) -> None:
        with self._changed:
            for ticket in (*self._waiting, *self._active):
                ticket.cancel()
                ticket.put(Unavailable("The request was cancelled because the server is stopping."))

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread to end; whether it has."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _live(self) -> None:
        try:
            if self._preload is not None:
                self._switch(self._preload, self._preload.main)
                self._state = "ok"
            while self._has_work():
                self._admit()
                self._step()
        except MlxkError as error:
            self._die(error)
        except BaseException as error:  # the end of the thread, which must not go unnoticed
            log.warning("The engine thread ended.", exc_info=settings.debug())
            self._die(MlxkError(f"The engine thread ended: {type(error).__name__}: {error}"))
        finally:
            self._unload()
            self._leave()

    def _has_work(self) -> bool:
        """Waits until there is some, and unloads a model that has none for too long. False: the end has come."""
        with self._changed:
            while not (self._batch or self._waiting or self._stopping):
                patience_s = self._limits.idle_s if self._engine is not None else None
                if not self._changed.wait(patience_s) and patience_s is not None:
                    self._unload()
            return bool(self._batch or self._waiting)

    def _admit(self) -> None:
        """Whoever waits and can be answered with those that are being answered. Nobody overtakes one who wants another model."""
        while (ticket := self._next()) is not None:
            try:
                self._batch_for(ticket).add(ticket)
            except MlxkError as error:
                ticket.put(error)
            except Exception as error:  # noqa: BLE001 - the boundary of the request
                ticket.put(engines.unexpected(error))

    def _next(self) -> Ticket | None:
        with self._changed:
            while self._waiting and self._waiting[0].cancelled():
                self._waiting.popleft()
            if not self._waiting or len(self._active) >= self._limits.together:
                return None
            if self._batch and not self._is_loaded_for(self._waiting[0]):
                return None
            ticket = self._waiting.popleft()
            self._active.append(ticket)
            return ticket

    def _step(self) -> None:
        left = [ticket for ticket in self._active if ticket.cancelled()]
        try:
            if self._batch is not None:
                self._batch.step()
        except Exception as error:  # noqa: BLE001 - the boundary of all requests that are being answered
            for ticket in self._active:
                ticket.put(engines.unexpected(error))
            self._unload()
        with self._changed:
            going_on = [ticket for ticket in self._active if not (ticket.ended or ticket in left)]
            self._active = going_on if self._batch else []  # one may have left since, and been dropped already

    def _batch_for(self, ticket: Ticket) -> Batch:
        """The batch of its model. What it brings is looked at before another model makes room for its own."""
        if not self._is_loaded_for(ticket) or self._batch is None:
            engines.check_media(ticket.request)
            self._switch(ticket.model, ticket.model.way(ticket.request.needs))
        assert self._batch is not None
        return self._batch

    def _is_loaded_for(self, ticket: Ticket) -> bool:
        """A model that was loaded to see reads text too, but calls no functions. One that was not is loaded anew to see."""
        if self.loaded is None or self.loaded.snapshot != ticket.model.snapshot:
            return False
        needs = ticket.request.needs
        sees = self._loaded_for == "vision" and needs == "text" and not ticket.request.tools
        return sees or ticket.model.way(needs) == self._loaded_for

    def _switch(self, model: Model, modality: Modality) -> None:
        """Load the model in the place of another one."""
        self._unload()
        log.info("Loading %s for %s", model.name, modality)
        self._engine = self._load(model, modality)
        self._loaded_for = modality
        self._batch = self._engine.batch(self._prompt_cache_bytes())
        self.loaded = model

    def _prompt_cache_bytes(self) -> int:
        if self._limits.prompt_cache_bytes is not None:
            return self._limits.prompt_cache_bytes
        from mlxk import memory  # noqa: PLC0415 - for loading only, as in the library

        return memory.for_prompts(memory.available_bytes())

    def _unload(self) -> None:
        self._batch = None
        if self._engine is not None:
            self._engine.close()
        self._engine = self.loaded = None

    def _die(self, error: MlxkError) -> None:
        with self._changed:
            self.failure = error
            self._state = "dead"
            tickets = [*self._waiting, *self._active]
            self._waiting.clear()
        for ticket in tickets:
            ticket.put(Unavailable(f"The engine is dead. {error.message}"))
        self._on_death()
