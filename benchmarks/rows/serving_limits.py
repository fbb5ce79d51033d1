"""What ``mlxk serve`` bears: 50 streams, clients that leave, 200 half-open connections, bodies too large; and what it takes."""

from __future__ import annotations

import contextlib
import http.client
import socket
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import talking
from figures import Row, at_most
from measuring import cpu_of, paired, wall
from session import Session
from talking import Answer, Running

MODEL = "mint/llama-tiny"
ENDLESS = "mint-pathology/never-stops"
STREAMS = 50
WAITING = 64
TICK_MS = 20.0
MB = 1e6


def measure(session: Session) -> Iterator[Row]:
    environment = session.minted(MODEL, ENDLESS)
    hub = Path(environment["HF_HOME"]) / "hub"
    yield from _start(session, environment)
    with talking.scripted(hub, MODEL) as server:
        with talking.bare() as bare:
            yield from _streams(session, server, bare)
        yield from _besieged(session, server)
        yield from _oversize(session, server)
    with talking.ours(session.tool, ENDLESS, "--model", ENDLESS, "--concurrency", "2", **environment) as server:
        yield from _left(session, server)


def _start(session: Session, environment: dict[str, str]) -> Iterator[Row]:
    def until_healthy() -> float:
        with contextlib.ExitStack() as stack:
            return wall(lambda: stack.enter_context(talking.ours(session.tool, MODEL, **environment)))

    bare = session.bare
    starts = paired(session.rounds, until_healthy, lambda: wall(lambda: cpu_of(bare)))
    yield Row("serve until /health answers", "s", starts[0], "python -c pass", starts[1], at_most(0.5, "figure"))
    imports = [session.python, "-c", "import mlxk.commands.serve"]
    costs = paired(session.rounds, lambda: 1e3 * cpu_of(imports), lambda: 1e3 * cpu_of(bare))
    yield Row("importing the server (CPU)", "ms", costs[0], "python -c pass", costs[1], at_most(150, "difference"))
    with talking.ours(session.tool, MODEL, **environment) as server:
        memory = _resident(server)
    yield Row("resident memory without a model", "MB", (memory,), "nothing", (1.0,), at_most(35, "figure"))


def _streams(session: Session, server: Running, bare: Running) -> Iterator[Row]:
    """50 streams of an engine that says a word every 20 ms, and hears of a request between two of them."""
    words = 100
    rounds = max(10, session.rounds)
    firsts, bare_firsts = paired(
        rounds, lambda: _first(server.many_at_once(STREAMS, 5)), lambda: _first(bare.many_at_once(STREAMS, 5))
    )
    limit = at_most(50, "figure")
    yield Row(f"p99 of first tokens of {STREAMS} streams", "ms", firsts, "bottle and waitress alone", bare_firsts, limit)
    gone_on = [
        (server.many_at_once(STREAMS, words), bare.many_at_once(STREAMS, words)) for _ in range(max(3, session.rounds // 5))
    ]
    gaps, bare_gaps = (
        [_p99([1e3 * gap for answer in each for gap in _gaps(answer)]) for each in side] for side in zip(*gone_on, strict=True)
    )
    limit = at_most(40, "figure")
    yield Row(f"p99 of gaps in {STREAMS} streams", "ms", tuple(gaps), "bottle and waitress alone", tuple(bare_gaps), limit)
    lost = tuple(float(sum(words - len(answer.times_s) for answer in ours)) for ours, _ in gone_on)
    said = (float(STREAMS * words),) * len(lost)
    yield Row(f"words lost of {STREAMS * words}", "count", lost, "all", said, at_most(0, "figure"))


def _first(answers: Sequence[Answer]) -> float:
    return _p99([1e3 * answer.first_s for answer in answers])


def _besieged(session: Session, server: Running) -> Iterator[Row]:
    """``/health`` while every slot and every place in the queue is taken, and 200 clients send half a header."""
    idle = [_ask_health(server) for _ in range(20 * session.rounds)]
    with contextlib.ExitStack() as stack:
        for _ in range(STREAMS + WAITING):
            body = {"model": MODEL, "messages": [{"role": "user", "content": "x"}], "max_tokens": 100_000, "stream": True}
            stack.enter_context(contextlib.closing(server.post(body)))
        for _ in range(200):
            slow = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 10))
            slow.sendall(b"GET /health HTTP/1.1\r\nHost: local")
        _until(lambda: server.health()["waiting"] == WAITING, 10)
        busy = [_ask_health(server) for _ in range(20 * session.rounds)]
    _until(lambda: server.health()["active"] == 0, 20)
    what = "p99 of /health, all slots busy, 200 half-open"
    yield Row(what, "ms", (_p99(busy),), "idle", (_p99(idle),), at_most(50, "figure"))


def _oversize(session: Session, server: Running) -> Iterator[Row]:
    before = _resident(server)
    refused, idle = paired(session.rounds, lambda: _refuse(server), lambda: _ask_health(server))
    yield Row("413 for 8 GB", "ms", refused, "/health", idle, at_most(100, "figure"))
    grown = max(0.0, _resident(server) - before)
    yield Row("memory grown by it", "MB", (grown,), "before", (before,), at_most(10, "figure"))


def _left(session: Session, server: Running) -> Iterator[Row]:
    """From a client's leaving to an engine that has nothing to do for it, while another's answer goes on."""
    ways: dict[str, Callable[[], float]] = {
        "in a stream": lambda: _leave(server, stream=True),
        "in a batch": lambda: _leave(server, stream=False),
        "while its prompt is read": lambda: _leave(server, stream=False, words=400),
        "in the queue": lambda: _leave_queue(server),
    }
    for where, leave in ways.items():
        left, idle = paired(session.rounds, leave, lambda: _ask_health(server))
        yield Row(f"idle after a client left {where}", "ms", left, "/health", idle, at_most(150, "figure"))


def _endless(server: Running, *, stream: bool, words: int = 3) -> http.client.HTTPConnection:
    messages = [{"role": "user", "content": "word " * words}]
    return server.post({"model": ENDLESS, "messages": messages, "max_tokens": 100_000, "stream": stream})


def _leave(server: Running, *, stream: bool, words: int = 3) -> float:
    connection = _endless(server, stream=stream, words=words)
    _until(lambda: server.health()["active"] == 1, 10)
    return _closed(connection, lambda: server.health()["active"] == 0)


def _leave_queue(server: Running) -> float:
    busy = [_endless(server, stream=True) for _ in range(2)]
    _until(lambda: server.health()["active"] == 2, 10)
    queued = _endless(server, stream=True)
    _until(lambda: server.health()["waiting"] == 1, 10)
    took_ms = _closed(queued, lambda: server.health()["waiting"] == 0)
    unharmed = server.health()["active"]
    for connection in busy:
        connection.close()
    _until(lambda: server.health()["active"] == 0, 10)
    if unharmed != 2:
        raise RuntimeError("a client that left the queue ended the answer of another")
    return took_ms


def _closed(connection: http.client.HTTPConnection, done: Callable[[], bool]) -> float:
    connection.close()
    return 1e3 * wall(lambda: _until(done, 10))


def _until(condition: Callable[[], bool], limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the server did not come to the state that was waited for")
        time.sleep(0.002)


def _refuse(server: Running) -> float:
    def ask() -> None:
        with socket.create_connection(("127.0.0.1", server.port), 10) as raw:
            raw.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8000000000\r\n\r\n")
            answer = http.client.HTTPResponse(raw)
            answer.begin()
            if answer.status != 413:
                raise RuntimeError(f"{answer.status} where 413 was expected")

    return 1e3 * wall(ask)


def _ask_health(server: Running) -> float:
    return 1e3 * wall(server.health)


def _resident(server: Running) -> float:
    return float(psutil.Process(server.pid).memory_info().rss / MB)


def _gaps(answer: Answer) -> list[float]:
    return [later - earlier for earlier, later in zip(answer.times_s, answer.times_s[1:], strict=False)]


def _p99(values: Sequence[float]) -> float:
    """Between the values seen, as NumPy has it by default: the other way goes beyond the greatest of fifty."""
    return statistics.quantiles(values, n=100, method="inclusive")[-1]
