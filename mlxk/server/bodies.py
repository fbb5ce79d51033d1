"""How large the bodies of requests may be: each of them by its route, and the large ones together.

A body that is too large is refused by its header, before it is read; a body that is sent in chunks, as soon as it has grown.
What is only announced takes nothing from others, and a large body of somebody who may not ask is not read at all.
"""

from __future__ import annotations

import copy
import threading
import weakref
from collections.abc import Callable
from typing import Any

from waitress.parser import HTTPRequestParser  # type: ignore[import-untyped]
from waitress.utilities import Error  # type: ignore[import-untyped]

from mlxk import images, sounds

MAX_BYTES = 8 << 20
_FORM_BYTES = 1 << 20  # around the file
_LARGER = {
    "/chat/completions": max(images.MAX_TOTAL_BYTES, sounds.MAX_BYTES) * 4 // 3 + MAX_BYTES,  # in base64, and text beside it
    "/audio/transcriptions": sounds.MAX_BYTES + _FORM_BYTES,
}
_MOST_TOGETHER = 512 << 20
_SMALL_BYTES = 1 << 20  # is not counted


def limit_bytes(path: str) -> int:
    return _LARGER.get(path.removeprefix("/v1"), MAX_BYTES)


class Budget:
    """What large bodies may weigh together, from their first bytes until they are answered, so that memory and disk suffice."""

    def __init__(self, most_bytes: int = _MOST_TOGETHER) -> None:
        self._lock = threading.Lock()
        self._left = most_bytes

    def has(self, count: int) -> bool:
        with self._lock:
            return count <= self._left

    def take(self, count: int, holder: object) -> bool:
        """Whether there is so much left; it is given back when ``holder`` is gone."""
        with self._lock:
            if count > self._left:
                return False
            self._left -= count
        weakref.finalize(holder, self._give_back, count)
        return True

    def _give_back(self, count: int) -> None:
        with self._lock:
            self._left += count


class Busy(Error):  # type: ignore[misc]
    code = 503
    reason = "Service Unavailable"


class Unauthorized(Error):  # type: ignore[misc]
    code = 401
    reason = "Unauthorized"


def parser_class(budget: Budget, authorized: Callable[[str], bool]) -> type:
    """A parser of requests that knows these bounds, and by its Authorization who may ask; waitress makes one for each request."""

    class Parser(HTTPRequestParser):  # type: ignore[misc]
        adj: Any
        error: Any
        _held = 0

        def parse_header(self, header_plus: bytes) -> None:
            super().parse_header(header_plus)
            if (most := limit_bytes(self.path)) > self.adj.max_request_body_size:
                self.adj = copy.copy(self.adj)
                self.adj.max_request_body_size = most

        def received(self, data: bytes) -> int:
            consumed: int = super().received(data)
            if self.error is None and self.headers_finished:
                self.error = self._refusal()
            if self.error is not None:
                self.completed = True
                self.expect_continue = False  # waitress would ask for the body of what it has refused
            return consumed

        def _refusal(self) -> Error | None:
            """Takes what has arrived from the budget; who has announced more than is left is told so at once."""
            size = max(self.content_length, self.body_bytes_received)
            if size <= _SMALL_BYTES:
                return None
            if not (self._held or authorized(self.headers.get("AUTHORIZATION", ""))):
                return Unauthorized("The API key is missing or wrong.")
            arrived = max(self.body_bytes_received - self._held, 0)
            more = -(-arrived // _SMALL_BYTES) * _SMALL_BYTES
            if not budget.has(size - self._held) or (more and not budget.take(more, self)):
                return Busy("Other large requests are being answered. Try again later.")
            self._held += more
            return None

    return Parser
