"""What goes wrong on request, and the record of what was asked: a layer of WSGI round the hub, which itself is honest."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

Kind = Literal["status", "html", "json", "stall", "cut", "reset", "slow", "corrupt", "ignore_range"]
Environ = dict[str, Any]
Application = Callable[[Environ, Any], Iterable[bytes]]

_PIECE_BYTES = 16 << 10
_FOR_EVER = 1 << 62
_NUMBERS = ("times", "at_byte", "status", "bytes_per_s")


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to the next ``times`` requests whose path matches ``path`` (a glob) and whose method is ``method``.

    status        is answered with ``status`` instead, with ``code`` for X-Error-Code, and Retry-After where ``seconds`` is given
    html          is answered with a page for people, as a captive portal does, and 200
    json          is answered with ``body`` and 200, and with ``link`` for Link, as a hub that means ill may answer
    stall         nothing comes any more after ``at_byte`` bytes of the body; before its headers where that is 0
    cut, reset    the connection ends in order, or is reset, after ``at_byte`` bytes of the body
    slow          the body comes at ``bytes_per_s``
    corrupt       the byte at ``at_byte`` is another one
    ignore_range  the whole file comes, whatever range was asked for
    """

    kind: Kind
    path: str = "*"
    method: str = "GET"
    times: int = _FOR_EVER
    at_byte: int = 0
    status: int = 503
    seconds: float | None = None
    bytes_per_s: int = 1 << 20
    code: str | None = None
    body: str = ""
    link: str | None = None

    @classmethod
    def parse(cls, document: Any) -> Fault:
        """Raises ValueError with a sentence."""
        if not isinstance(document, dict) or set(document) - set(cls.__slots__) or document.get("kind") not in get_args(Kind):
            raise ValueError(f"a fault has a kind ({', '.join(get_args(Kind))}) and of {', '.join(cls.__slots__)} what it needs")
        for name, value in document.items():
            if type(value) not in ((int, float) if name == "seconds" else (int,) if name in _NUMBERS else (str,)):
                raise ValueError(f"{name} cannot be {value!r}")
        return cls(**document)


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked: ``range`` as sent, ``sent`` the bytes of the body that were handed over, ``user`` whether a token came."""

    method: str
    path: str
    range: str | None
    status: int
    sent: int
    authorized: bool


class FaultLayer:
    """Wraps the hub's application. Faults are tried in the order in which they were added."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._faults: list[Fault] = []
        self._requests: list[Request] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()
            self._requests.clear()

    def requests(self) -> list[Request]:
        with self._lock:
            return list(self._requests)

    def stop(self) -> None:
        """Wake whatever is stalled."""
        self._stopping.set()

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith("/-/"):
            return self._control(environ, start_response)
        fault = self._next(environ)
        if fault is None or fault.kind not in ("status", "html", "json"):
            return self._pass(environ, start_response, fault)
        return self._instead(fault, environ, start_response)

    def _next(self, environ: Environ) -> Fault | None:
        with self._lock:
            for place, fault in enumerate(self._faults):
                if (
                    fault.times > 0
                    and fault.method == environ["REQUEST_METHOD"]
                    and fnmatchcase(environ["PATH_INFO"], fault.path)
                ):
                    self._faults[place] = replace(fault, times=fault.times - 1)
                    return fault
        return None

    def _pass(self, environ: Environ, start_response: Any, fault: Fault | None) -> Iterable[bytes]:
        """Let the hub answer, and note it; ``fault`` shapes the body."""
        asked = environ.get("HTTP_RANGE")
        if fault is not None and fault.kind == "ignore_range":
            environ.pop("HTTP_RANGE", None)
        if fault is not None and fault.kind == "stall" and fault.at_byte == 0:
            self._stopping.wait(fault.seconds)
        told: list[Any] = []

        def begin(status: str, headers: list[tuple[str, str]], problem: Any = None) -> Any:
            told[:] = [int(status[:3]), int(dict(headers).get("Content-Length", 0))]
            return start_response(status, headers)

        body = self._application(environ, begin)
        head = environ["REQUEST_METHOD"] == "HEAD"
        if fault is None or head or fault.kind == "ignore_range":
            self._note(environ, asked, told[0], 0 if head else told[1])
            return body
        return self._shaped(environ, asked, told, body, fault)

    def _shaped(
        self, environ: Environ, asked: str | None, told: list[Any], body: Iterable[bytes], fault: Fault
    ) -> Iterator[bytes]:
        sent = 0
        try:
            for piece in _pieces(body):
                out = piece
                if fault.kind == "corrupt" and sent <= fault.at_byte < sent + len(piece):
                    place = fault.at_byte - sent
                    out = piece[:place] + bytes([piece[place] ^ 0xFF]) + piece[place + 1 :]
                if fault.kind in ("cut", "reset", "stall"):
                    out = piece[: max(0, fault.at_byte - sent)]
                if out:
                    sent += len(out)
                    yield out
                if fault.kind == "slow":
                    self._stopping.wait(len(piece) / fault.bytes_per_s)
                if len(out) < len(piece):
                    break
            if fault.kind == "stall":
                self._stopping.wait(fault.seconds)
            if fault.kind == "reset":
                _linger_not(environ)
        finally:
            getattr(body, "close", lambda: None)()
            self._note(environ, asked, told[0], sent)

    def _instead(self, fault: Fault, environ: Environ, start_response: Any) -> Iterable[bytes]:
        environ["wsgi.input"].read()
        bodies = {"html": "<html>Please sign in to this network.</html>", "json": fault.body}
        body = bodies.get(fault.kind, json.dumps({"error": "Something went wrong, on request."})).encode()
        status = 200 if fault.kind in bodies else fault.status
        headers = [
            ("Content-Type", "text/html" if fault.kind == "html" else "application/json"),
            ("Content-Length", str(len(body))),
        ]
        if fault.seconds is not None:
            headers.append(("Retry-After", f"{fault.seconds:g}"))
        if fault.link is not None:
            headers.append(("Link", fault.link))
        if fault.code is not None:
            headers.append(("X-Error-Code", fault.code))
        start_response(f"{status} On request", headers)
        self._note(environ, environ.get("HTTP_RANGE"), status, len(body))
        return [body]

    def _note(self, environ: Environ, asked: str | None, status: int, sent: int) -> None:
        authorized = "HTTP_AUTHORIZATION" in environ
        with self._lock:
            self._requests.append(Request(environ["REQUEST_METHOD"], environ["PATH_INFO"], asked, status, sent, authorized))

    def _control(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """``/-/faults``: POST adds one, DELETE forgets all and the record; ``/-/requests`` is the record."""
        status = "200 OK"
        answer: dict[str, object] = {}
        raw = environ["wsgi.input"].read()
        if environ["PATH_INFO"] == "/-/requests":
            answer = {"requests": [asdict(request) for request in self.requests()]}
        elif environ["REQUEST_METHOD"] == "DELETE":
            self.clear()
        elif environ["REQUEST_METHOD"] == "POST":
            try:
                self.add(Fault.parse(json.loads(raw)))
            except ValueError as error:
                status, answer = "400 Bad Request", {"error": str(error)}
        with self._lock:
            answer["faults"] = [asdict(fault) for fault in self._faults if fault.times > 0]
        body = json.dumps(answer).encode()
        start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]


def _pieces(body: Iterable[bytes]) -> Iterator[bytes]:
    for whole in body:
        for start in range(0, len(whole), _PIECE_BYTES):
            yield whole[start : start + _PIECE_BYTES]


def _linger_not(environ: Environ) -> None:
    """Closing the socket then resets the connection. waitress tells of its channel by the method of it that it hands to us."""
    channel = environ["waitress.client_disconnected"].__self__
    channel.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
