"""The routes: who may ask, what is asked for, and the answer, as one WSGI application on Bottle."""

from __future__ import annotations

import functools
import hmac
import json
import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from bottle import Bottle, HTTPError, HTTPResponse, request, response  # type: ignore[import-untyped]

from mlxk import cache, schemas, settings
from mlxk.cache import Snapshot
from mlxk.compatibility import Modality
from mlxk.engines import Generation
from mlxk.errors import MlxkError, ModelNotFound, RequestError
from mlxk.library import Library, Model
from mlxk.server import answers as answering
from mlxk.server import forms, metrics, replies, transcriptions, transcripts
from mlxk.server.answers import Client, CompletionStream, EventStream, TranscriptStream
from mlxk.server.replies import ChatShape, TextShape
from mlxk.server.requests import Asked, parse_chat, parse_completion
from mlxk.server.worker import Worker

log = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[\w.-]{1,128}")
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_PREFLIGHT = {"Access-Control-Allow-Methods": "GET, POST", "Access-Control-Allow-Headers": "Authorization, Content-Type"}


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
    allowed_origins: tuple[str, ...] = ()
    images_at_once: int | None = None

    def authorized(self, header: str) -> bool:
        """Whether a request with this Authorization is one that is answered."""
        if self.api_key is None:
            return True
        scheme, _, given = header.partition(" ")
        right = hmac.compare_digest(given.strip().encode("latin-1"), self.api_key.encode("utf-8"))
        return scheme.lower() == "bearer" and right

    def cors(self, environ: Mapping[str, Any]) -> list[tuple[str, str]]:
        """What lets a page of an origin that was allowed read the answer; others are told nothing."""
        origin = environ.get("HTTP_ORIGIN", "")
        return [("Access-Control-Allow-Origin", origin), ("Vary", "Origin")] if origin in self.allowed_origins else []


def make_app(
    library: Library, worker: Worker, policy: Policy, workspace: Snapshot | None = None
) -> Callable[..., Iterable[bytes]]:
    """``workspace`` is served beside the models of the cache, by the name that it has here; no client can name a folder."""
    app = Bottle()
    counted = metrics.Metrics()
    service = _Service(library, worker, policy, counted, workspace)
    app.add_hook("before_request", service.guard)
    app.get("/health", callback=_answering(service.health))
    app.get("/metrics", callback=_answering(service.metrics))
    app.get("/openapi.json", callback=_answering(service.openapi))
    for prefix in ("/v1", ""):
        app.get(f"{prefix}/models", callback=_answering(service.models))
        app.get(f"{prefix}/models/<name:path>", callback=_answering(service.model))
        app.post(f"{prefix}/chat/completions", callback=_answering(service.chat))
        app.post(f"{prefix}/completions", callback=_answering(service.completion))
        app.post(f"{prefix}/audio/transcriptions", callback=_answering(service.transcription))
    app.default_error_handler = _bottle_error
    return _observed(app, counted, policy)


class _Service:
    def __init__(
        self, library: Library, worker: Worker, policy: Policy, counted: metrics.Metrics, workspace: Snapshot | None
    ) -> None:
        self._library = library
        self._worker = worker
        self._policy = policy
        self._metrics = counted
        self._workspace = workspace
        self._main: tuple[tuple[int, int], Snapshot] | None = None  # as it was found last
        self._started = time.monotonic()

    def guard(self) -> None:
        """Before every request, whether its path exists or not."""
        if request.method == "OPTIONS" and self._policy.cors(request.environ):
            raise HTTPResponse(status=204, headers=_PREFLIGHT)
        if self._policy.loopback_only:
            host = request.environ.get("HTTP_HOST", "")
            _check_name("Host", host, f"//{host}")
            origin = request.environ.get("HTTP_ORIGIN")
            if origin and origin not in self._policy.allowed_origins:
                _check_name("Origin", origin, origin)
        if request.path != "/health" and not self._policy.authorized(request.environ.get("HTTP_AUTHORIZATION", "")):
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
        own = [self._library.inspect(self._workspace)] if self._workspace is not None else []
        models = (model for model in (*own, *self._library.models()) if model.runnable)
        return _json({"object": "list", "data": [self._model_object(model) for model in models]})

    def model(self, name: str) -> HTTPResponse:
        model = self._library.inspect(self._named(name))
        if not model.runnable:
            raise ModelNotFound(f"{model.name} cannot be served. {model.reason}")
        return _json(self._model_object(model))

    def metrics(self) -> HTTPResponse:
        worker = self._worker
        gauges = {"mlxk_requests_active": worker.active, "mlxk_requests_waiting": worker.waiting}
        text = self._metrics.text(gauges, worker.loaded.name if worker.loaded else None)
        return HTTPResponse(text.encode(), 200, {"Content-Type": metrics.CONTENT_TYPE})

    def openapi(self) -> HTTPResponse:
        return HTTPResponse(schemas.openapi(), 200, {"Content-Type": "application/json"})

    def chat(self) -> HTTPResponse | EventStream:
        policy = self._policy
        return self._answer(parse_chat(_json_body(), policy.default_max_tokens, policy.images_at_once), ChatShape)

    def completion(self) -> HTTPResponse | EventStream:
        return self._answer(parse_completion(_json_body(), self._policy.default_max_tokens), TextShape)

    def transcription(self) -> HTTPResponse | EventStream:
        # as it was sent: Bottle makes its letters small, and those of a boundary are not
        asked = transcriptions.parse(forms.parse(request.environ.get("CONTENT_TYPE", ""), request.environ["wsgi.input"].read()))
        exchange = self._worker.submit(self._admit(asked.model, "audio"), (asked.generation,))
        if asked.stream:
            return _streamed(TranscriptStream(exchange, self._client(), self._metrics.finished))
        answers = answering.whole(exchange, self._client())
        if answers is None:
            return HTTPResponse(status=499)
        self._metrics.finished(answers)
        body, content_type = transcripts.answer(answers[0], asked)
        return HTTPResponse(body, 200, {"Content-Type": content_type})

    def _answer(self, asked: Asked, form: type[ChatShape | TextShape]) -> HTTPResponse | EventStream:
        model = self._admit(asked.model, asked.generations[0].needs)
        exchange = self._worker.submit(model, asked.generations)
        shape = form(model.name, logprobs=asked.generations[0].top_logprobs is not None)
        client = self._client()
        done = functools.partial(self._metrics.finished, images=sum(map(_images, asked.generations)))
        if asked.stream:
            return _streamed(CompletionStream(exchange, client, shape, asked, done))
        answers = answering.whole(exchange, client, asked.headings)
        if answers is None:
            return HTTPResponse(status=499)
        done(answers)
        return _json(shape.whole(answers))

    def _client(self) -> Client:
        gone = request.environ["waitress.client_disconnected"]
        return Client(request.environ["mlxk.request_id"], gone, self._policy.keepalive_s)

    def _admit(self, spec: str, modality: Modality) -> Model:
        """The model asked for, if it can do this. Nothing about the one in memory changes before it is known to be loadable."""
        snapshot = self._named(spec)
        loaded = self._worker.loaded
        if loaded is not None and loaded.snapshot == snapshot:
            loaded.check_runs(loaded.way(modality))
            return loaded
        return self._library.admit(snapshot, loaded.weights_bytes if loaded is not None else 0, modality)

    def _named(self, spec: str) -> Snapshot:
        if self._workspace is not None and spec == self._workspace.name:
            return self._workspace
        loaded = self._worker.loaded
        if loaded is not None and loaded.name == spec and self._is_main(loaded.snapshot):
            return loaded.snapshot  # as nearly always, and without a look at every model that there is
        return cache.find(self._library.hub, spec)

    def _is_main(self, snapshot: Snapshot) -> bool:
        """Whether main leads to it, and did so to a folder when its file was new.

        That is read once: whoever calls into the system waits for the interpreter's lock afterwards.
        """
        hub, name = self._library.hub, snapshot.name
        version = cache.ref_version(hub, name, "main")
        if version is not None and self._main == (version, snapshot):
            return True
        found = cache.at_ref(hub, name, "main")
        self._main = (version, found) if version is not None and found is not None else None
        return found == snapshot

    def _model_object(self, model: Model) -> dict[str, Any]:
        loaded = self._worker.loaded
        return replies.model_object(model, loaded=loaded is not None and loaded.snapshot == model.snapshot)


def _images(generation: Generation) -> int:
    prompt = generation.prompt
    return 0 if isinstance(prompt, str) else sum(len(message.images) for message in prompt)


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
            about = {"request_id": request.environ["mlxk.request_id"]}
            log.warning("%s failed: %s: %s", asked, type(error).__name__, error, exc_info=settings.debug(), extra=about)
            return _error(MlxkError("The server failed to answer; its log says why."))

    return answer


def _streamed(stream: EventStream) -> EventStream:
    response.content_type = "text/event-stream; charset=utf-8"
    response.set_header("Cache-Control", "no-cache")
    response.set_header("X-Accel-Buffering", "no")
    return stream


def _json_body() -> bytes:
    if request.content_type.partition(";")[0].strip().lower() != "application/json":
        message = "The body must be JSON, sent with Content-Type: application/json."
        raise RequestError(message, status=415, code="unsupported_media_type")
    body: bytes = request.environ["wsgi.input"].read()
    return body


def _check_name(header: str, value: str, url: str) -> None:
    try:
        name = urlsplit(url).hostname
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


def _observed(app: Callable[..., Iterable[bytes]], counted: metrics.Metrics, policy: Policy) -> Callable[..., Iterable[bytes]]:
    """Give every answer the client's request id or one of ours; count it and log it as it begins."""

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        given = environ.get("HTTP_X_REQUEST_ID", "")
        environ["mlxk.request_id"] = request_id = given if _REQUEST_ID.fullmatch(given) else replies.new_id()
        method, path = environ["REQUEST_METHOD"], _quoted(environ["PATH_INFO"])
        environ["mlxk.asked"] = f"{method} {path}"
        began = time.monotonic()

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            code, duration_ms = int(status[:3]), round(1000 * (time.monotonic() - began), 1)
            route = environ.get("bottle.route")
            counted.answered(route.rule if route is not None else "other", code)
            about = {"method": method, "path": path, "status": code, "duration_ms": duration_ms, "request_id": request_id}
            log.info("%s %s %d %.0f ms", method, path, code, duration_ms, extra=about)
            return start_response(status, [*headers, ("X-Request-Id", request_id), *policy.cors(environ)], exc_info)

        return app(environ, start)

    return application


def _quoted(path: str) -> str:
    """What a client puts into a path must not become a line, or a colour, of the log."""
    return quote(path.encode("latin-1"))  # WSGI has every byte as a character; Bottle will decode it, in place
