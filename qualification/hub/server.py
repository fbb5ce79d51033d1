"""A running hub: the protocol and its faults behind waitress, on a port of the loopback interface."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from waitress import wasyncore  # type: ignore[import-untyped]
from waitress.server import create_server  # type: ignore[import-untyped]

from qualification.hub.api import Api, Limits
from qualification.hub.content import ContentStore
from qualification.hub.faults import Fault, FaultLayer, Request
from qualification.hub.store import Store

_BODY_MAX_BYTES = 1 << 40
_THREADS = 24  # a stalled answer holds one


class LocalHub:
    """Serves what is below ``root``, from ``start`` to ``stop``."""

    def __init__(self, root: Path, port: int = 0, limits: Limits | None = None) -> None:
        self.store = Store(root)
        content = ContentStore(root / "content")
        api = Api(self.store, content, limits or Limits())
        self._layer = FaultLayer(api.application)
        logging.getLogger("waitress").setLevel(logging.CRITICAL)  # a cut answer is no news
        self._connections: dict[int, object] = {}
        self._stopping = False
        bound = socket.create_server(("127.0.0.1", port))
        self.port: int = bound.getsockname()[1]
        self._server = create_server(
            self._layer,
            map=self._connections,
            sockets=[bound],
            threads=_THREADS,
            connection_limit=1000,
            max_request_body_size=_BODY_MAX_BYTES,
            clear_untrusted_proxy_headers=True,
            ident="local-hub",
        )
        api.origin = content.origin = self.url
        api.elsewhere = f"http://localhost:{self.port}"
        self._thread = threading.Thread(target=self._serve, name="local-hub", daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        self._layer.stop()
        if self._thread.is_alive():
            self._server.trigger.pull_trigger()
            self._thread.join(timeout=10)
        self._server.task_dispatcher.shutdown()
        wasyncore.close_all(self._connections)

    def _serve(self) -> None:
        while not self._stopping:
            wasyncore.loop(timeout=30, map=self._connections, count=1)

    def fail(self, fault: Fault) -> None:
        self._layer.add(fault)

    def requests(self) -> list[Request]:
        return self._layer.requests()

    def forget(self) -> None:
        """Drop all faults, and the record of requests."""
        self._layer.clear()


@contextmanager
def running(root: Path, limits: Limits | None = None) -> Iterator[LocalHub]:
    hub = LocalHub(root, limits=limits)
    hub.start()
    try:
        yield hub
    finally:
        hub.stop()
