"""The life of the server process: bind, serve, and on a signal or a dead engine come to an end in good order."""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from waitress import create_server, wasyncore  # type: ignore[import-untyped]
from waitress.channel import HTTPChannel  # type: ignore[import-untyped]
from waitress.task import ErrorTask  # type: ignore[import-untyped]

from mlxk.errors import AddressUnavailable, RequestError
from mlxk.server import bodies, replies
from mlxk.server.threads import Threads

log = logging.getLogger(__name__)

GRACE_S = 5.0
_MOST_CONNECTIONS = 512
_OTHER_FILES = 128  # what may be open beside them: weights while they are loaded, bodies of more than 512 KiB, pipes
_SPARE_THREADS = 8  # for /health and refusals while every request that may wait does
_CANCEL_S = 2.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def bind(host: str, port: int) -> socket.socket:
    """A bound socket; port 0 lets the system choose. Raises AddressUnavailable."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        reason = error.strerror or str(error)
        message = f"{host}:{port} cannot be used: {reason}. Choose another --port (0: any that is free) or --host."
        raise AddressUnavailable(message) from error
    return bound


@dataclass(slots=True)
class Server:
    """waitress on a bound socket, driven by the thread that calls ``run``."""

    app: Callable[..., Iterable[bytes]]
    bound: socket.socket
    most_requests: int
    most_connections: int = _MOST_CONNECTIONS
    large_bodies: bodies.Budget = field(default_factory=bodies.Budget)
    authorized: Callable[[str], bool] = lambda header: True
    signals: list[int] = field(default_factory=list)
    _map: dict[int, Any] = field(default_factory=dict)
    _waitress: Any = None
    _parent: int | None = None
    _ended: bool = False
    _turn_began: float = 0.0

    def start(self) -> None:
        """Listen; connections are answered once ``run`` is called."""
        self._waitress = create_server(
            self.app,
            self._map,
            sockets=[self.bound],
            _dispatcher=Threads(self.most_requests + _SPARE_THREADS),  # which waitress has no public name for
            channel_request_lookahead=1,
            max_request_body_size=bodies.MAX_BYTES,
            channel_timeout=30,
            cleanup_interval=10,
            connection_limit=_within_file_limit(self.most_connections),
            ident=None,
            clear_untrusted_proxy_headers=True,
        )
        channel = type("Channel", (_Channel,), {"parser_class": bodies.parser_class(self.large_bodies, self.authorized)})
        self._waitress.channel_class = channel
        self._waitress.handle_accept = self._accept

    def take_signals(self) -> None:
        """Let signals end it, and the death of its parent, as of a terminal that is closed; from the main thread only.

        Where SIGHUP is ignored, as nohup has it, the server is meant to live on.
        """
        self._parent = os.getppid()
        for number in _SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, lambda received, frame: self.end(received))
            else:
                self._parent = None

    def end(self, received: int | None = None) -> None:
        """Ask ``run`` to return; from a signal handler or any thread."""
        if received is not None:
            self.signals.append(received)
        self._ended = True
        self._waitress.pull_trigger()

    def run(self) -> None:
        while not self._ended:
            self.turn(1.0)
            if self._parent is not None and os.getppid() != self._parent:
                log.warning("The process that started the server has ended, and so does the server (nohup keeps it).")
                self.end(signal.SIGHUP)

    def turn(self, most_s: float) -> None:
        """Accept, read and write once what is ready, after a wait of at most ``most_s``."""
        waiting = self._make_room()
        self._turn_began = time.time()
        wasyncore.loop(timeout=0.0 if waiting else most_s, map=self._map, count=1, use_poll=True)

    def drain(self, cancel: Callable[[], None]) -> None:
        """Listen no more; let answers end within the grace period, or until a second signal, and then cancel them."""
        wasyncore.dispatcher.close(self._waitress)  # its own close() would also cut the answers that are under way
        self._wait(GRACE_S, lambda: len(self.signals) > 1)
        cancel()
        self._wait(_CANCEL_S, lambda: False)
        self._waitress.task_dispatcher.shutdown(timeout=_CANCEL_S)  # its threads wake the loop, which must still be there
        wasyncore.close_all(self._map)

    def _accept(self) -> None:
        """All who come at the same time: waitress takes one in each turn, and a turn looks at every connection there is."""
        known = -1
        while known < len(self._map) < self._waitress.adj.connection_limit:
            known = len(self._map)
            type(self._waitress).handle_accept(self._waitress)

    def _wait(self, most_s: float, enough: Callable[[], bool]) -> None:
        deadline = time.monotonic() + most_s
        while self._busy() and not enough() and time.monotonic() < deadline:
            self.turn(0.05)

    def _busy(self) -> bool:
        channels = list(self._waitress.active_channels.values())
        return any(channel.requests or channel.total_outbufs_len for channel in channels)

    def _make_room(self) -> bool:
        """Drop who has been silent longest in the midst of a request, or after one, before waitress listens no more.

        Nobody is silent who has not had a turn to be read since it came; True where room waits for that turn.
        """
        if len(self._map) < self._waitress.adj.connection_limit - 1:
            return False
        channels = self._waitress.active_channels.values()
        silent = [channel for channel in channels if not (channel.requests or channel.total_outbufs_len)]
        oldest = min(silent, key=attrgetter("last_activity"), default=None)
        if oldest is None:
            return False
        oldest.will_close = oldest.last_activity < self._turn_began  # both by waitress's clock
        return not oldest.will_close


def _within_file_limit(connections: int) -> int:
    """As many of them as the process may open files for, which on macOS are 256 until it asks for more."""
    wanted = connections + _OTHER_FILES
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)  # below 0 is no limit
    if not 0 <= allowed < wanted:
        return connections
    allowed = wanted if most < 0 else min(wanted, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))
    return allowed - min(_OTHER_FILES, allowed // 2)


class _JsonErrorTask(ErrorTask):  # type: ignore[misc]
    """What waitress itself refuses (too large, malformed), in our shape."""

    def execute(self) -> None:
        refused = self.request.error
        codes = {401: "invalid_api_key", 413: "payload_too_large", 431: "headers_too_large", 503: "unavailable"}
        error = RequestError(
            f"{refused.reason}: {refused.body}", status=refused.code, code=codes.get(refused.code, "bad_request")
        )
        body = json.dumps(replies.error_object(error)).encode()
        self.status = f"{refused.code} {refused.reason}"
        self.response_headers += [
            ("Content-Type", "application/json"),
            ("X-Request-Id", replies.new_id()),
            ("Connection", "close"),
            *replies.error_headers(error).items(),
            *((("Retry-After", "1"),) if refused.code == 503 else ()),
        ]
        self.close_on_finish = True
        self.content_length = len(body)
        self.write(body)


class _Channel(HTTPChannel):  # type: ignore[misc]
    error_task_class = _JsonErrorTask
