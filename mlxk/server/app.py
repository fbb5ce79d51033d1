"""The routes: who may ask, what is asked for, and the answer, as one WSGI application on Bottle."""

from __future__ import annotations

import functools
import hmac
import json
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from bottle import Bottle, HTTPError, HTTPResponse, request, response  # type: ignore[import-untyped]

from mlxk import cache, engines, settings
from mlxk.engines import Event, Finished, Reasoning, Text
from mlxk.errors import MlxkError, ModelNotFound, RequestError
from mlxk.library import Library, Model
from mlxk.server import replies
from mlxk.server.requests import Asked, parse_chat, parse_completion
from mlxk.server.worker import Silence, Ticket, Worker

log = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[\w.-]{1,128}")
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Policy:
    """Who may ask, and how they are answered.

    On loopback only clients may that call us by a name of loopback, which no web page elsewhere can do. A stream that is silent
    for ``keepalive_s`` gets a comment: proxies close what is silent for a minute, and reading a long prompt takes longer.
    """

    loopback_only: bool = True
    api_key: str | None = None
    default_max_tokens: int | None = None
    keepalive_s: float = 15.0


def make_app(library: Library, worker: Worker, policy: Policy) -> Callable[..., Iterable[bytes]]:
    app = Bottle()
    service = _Service(library, worker, policy)
    app.add_hook("before_request", service.guard)
    app.get("/health", callback=_answering(service.health))
    for prefix in ("/v1", ""):
        app.get(f"{prefix}/models", callback=_answering(service.models))
        app.get(f"{prefix}/models/<name:path>", callback=_answering(service.model))
        app.post(f"{prefix}/chat/completions", callback=_answering(service.chat))
        app.post(f"{prefix}/completions", callback=_answering(service.completion))
    app.default_error_handler = _bottle_error
    return _with_request_id(app)


class _Service:
    def __init__(self, library: Library, worker: Worker, policy: Policy) -> None:
        self._library = library
        self._worker = worker
        self._policy = policy
        self._started = time.monotonic()

    def guard(self) -> None:
        """Before every request, whether its path exists or not."""
        if self._policy.loopback_only:
            _check_name("Host", request.environ.get("HTTP_HOST", ""))
            if origin := request.environ.get("HTTP_ORIGIN"):
                _check_name("Origin", urlsplit(origin).netloc)
        if self._policy.api_key is not None and request.path != "/health":
            scheme, _, given = request.environ.get("HTTP_AUTHORIZATION", "").partition(" ")
            right = hmac.compare_digest(given.strip().encode("latin-1"), self._policy.api_key.encode("utf-8"))
            if scheme.lower() != "bearer" or not right:
                raise _error(RequestError("The API key is missing or wrong.", status=401, code="invalid_api_key"))

    def health(self) -> HTTPResponse:
        worker = self._worker
        body = {
            "status": worker.state,
            "model": worker.loaded.name if worker.loaded else None,
            "active": worker.active,
            "waiting": worker.waiting,
            "uptime_s": round(time.monotonic() - self._started, 3),
        }
        return _json(body, 200 if worker.state == "ok" else 503)

    def models(self) -> HTTPResponse:
        runnable = [model for model in self._library.models() if model.runnable]
        return _json({"object": "list", "data": [self._model_object(model) for model in runnable]})

    def model(self, name: str) -> HTTPResponse:
        model = self._library.find(name)
        if not model.runnable:
            raise ModelNotFound(f"{model.name} cannot be served. {model.reason}")
        return _json(self._model_object(model))

    def chat(self) -> HTTPResponse | _EventStream:
        return self._answer(parse_chat(_json_body(), self._policy.default_max_tokens), replies.ChatShape)

    def completion(self) -> HTTPResponse | _EventStream:
        return self._answer(parse_completion(_json_body(), self._policy.default_max_tokens), replies.TextShape)

    def _answer(self, asked: Asked, form: type[replies.Shape]) -> HTTPResponse | _EventStream:
        model = self._admit(asked.model)
        tickets = self._worker.submit(model, asked.generations)
        gone = request.environ["waitress.client_disconnected"]
        streams = [ticket.events(gone, self._policy.keepalive_s) for ticket in tickets]
        shape = form(model.name)
        if asked.stream:
            return _EventStream(tickets, _chunks(streams, shape, asked))
        try:
            answers = [engines.complete(event for event in events if not isinstance(event, Silence)) for events in streams]
        finally:
            _cancel(tickets)
        whole = [answer for answer in answers if answer is not None]
        return _json(shape.whole(whole)) if len(whole) == len(tickets) else HTTPResponse(status=499)

    def _admit(self, spec: str) -> Model:
        """The model asked for; nothing about the one in memory changes before it is known that this one can be loaded."""
        snapshot = cache.find(self._library.hub, spec)
        loaded = self._worker.loaded
        if loaded is not None and loaded.snapshot == snapshot:
            return loaded
        return self._library.admit(snapshot, loaded.weights_bytes if loaded is not None else 0)

    def _model_object(self, model: Model) -> dict[str, Any]:
        loaded = self._worker.loaded
        return replies.model_object(model, loaded=loaded is not None and loaded.snapshot == model.snapshot)


class _EventStream:
    """The body of a streamed answer. However it ends, read to its end or dropped before it began, its tickets are cancelled."""

    def __init__(self, tickets: Sequence[Ticket], chunks: Iterator[bytes]) -> None:
        self._tickets = tickets
        self._chunks = chunks
        try:
            self._first = next(chunks, b"")  # waits until the prompt is accepted: until then a failure has a status of its own
        except MlxkError:
            self.close()
            raise
        response.content_type = "text/event-stream; charset=utf-8"
        response.set_header("Cache-Control", "no-cache")
        response.set_header("X-Accel-Buffering", "no")

    def __iter__(self) -> Iterator[bytes]:
        yield self._first
        yield from self._chunks

    def close(self) -> None:
        _cancel(self._tickets)


def _cancel(tickets: Iterable[Ticket]) -> None:
    for ticket in tickets:
        ticket.cancel()


def _chunks(streams: Sequence[Iterator[Event | Silence]], shape: replies.Shape, asked: Asked) -> Iterator[bytes]:
    """The opening, text, how it ended, usage if asked for, and the end; or an error, after which nothing comes."""
    chunk = functools.partial(shape.chunk, include_usage=asked.include_usage)
    if next(streams[0], None) is None:
        return
    opening = shape.opening()
    yield chunk(0, opening, None) if opening is not None else replies.KEEPALIVE
    finished = []
    try:
        for index, events in enumerate(streams):
            for event in events:
                if isinstance(event, (Text, Reasoning)):
                    yield chunk(index, shape.part(event), None)
                elif isinstance(event, Silence):
                    yield replies.KEEPALIVE
                elif isinstance(event, Finished):
                    yield chunk(index, shape.part(None), event.finish_reason)
                    finished.append(event)
    except MlxkError as error:
        log.warning("%s: %s", request.environ["mlxk.request_id"], error.message)
        yield replies.event(replies.error_object(error))
        return
    if len(finished) == len(streams):
        if asked.include_usage:
            yield shape.usage_chunk(finished)
        yield replies.LAST_EVENT


def _answering(handler: Callable[..., Any]) -> Callable[..., Any]:
    """The boundary of a request: its failure is its own answer, and nobody else's."""

    @functools.wraps(handler)
    def answer(*args: Any, **options: Any) -> Any:
        try:
            return handler(*args, **options)
        except MlxkError as error:
            return _error(error)
        except Exception as error:  # the boundary of the request
            asked = request.environ["mlxk.asked"]
            log.warning("%s failed: %s: %s", asked, type(error).__name__, error, exc_info=settings.debug())
            return _error(MlxkError("The server failed to answer; its log says why."))

    return answer


def _json_body() -> bytes:
    if request.content_type.partition(";")[0].strip().lower() != "application/json":
        message = "The body must be JSON, sent with Content-Type: application/json."
        raise RequestError(message, status=415, code="unsupported_media_type")
    body: bytes = request.environ["wsgi.input"].read()
    return body


def _check_name(header: str, value: str) -> None:
    try:
        name = urlsplit(f"//{value}").hostname
    except ValueError:
        name = None
    if name not in _LOOPBACK_NAMES:
        message = f"{header} {value!r} is not this server: it answers clients on its own machine only."
        raise _error(RequestError(message, status=403, code="access_denied"))


def _json(body: dict[str, Any], status: int = 200, **headers: str) -> HTTPResponse:
    encoded = json.dumps(body, ensure_ascii=False).encode()
    return HTTPResponse(encoded, status, {"Content-Type": "application/json", **headers})


def _error(error: MlxkError) -> HTTPResponse:
    return _json(replies.error_object(error), replies.status(error), **replies.error_headers(error))


def _bottle_error(error: HTTPError) -> bytes:
    """What Bottle itself refuses: a path or a method that is not there."""
    names = {404: "not_found", 405: "method_not_allowed"}
    message = f"{request.method} {request.path}: {error.status_line.partition(' ')[2]}."
    refusal = RequestError(message, status=error.status_code, code=names.get(error.status_code, "bad_request"))
    response.content_type = "application/json"
    return json.dumps(replies.error_object(refusal)).encode()


def _with_request_id(app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Give every answer the client's request id or one of ours, and log it as it begins."""

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        given = environ.get("HTTP_X_REQUEST_ID", "")
        environ["mlxk.request_id"] = request_id = given if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4())
        environ["mlxk.asked"] = f"{environ['REQUEST_METHOD']} {_quoted(environ['PATH_INFO'])}"
        began = time.monotonic()

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            log.info("%s %s %.0f ms %s", environ["mlxk.asked"], status[:3], 1000 * (time.monotonic() - began), request_id)
            return start_response(status, [*headers, ("X-Request-Id", request_id)], exc_info)

        return app(environ, start)

    return application


def _quoted(path: str) -> str:
    """What a client puts into a path must not become a line, or a colour, of the log."""
    return quote(path.encode("latin-1"))  # WSGI has every byte as a character; Bottle will decode it, in place
