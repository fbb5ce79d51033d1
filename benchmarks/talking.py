"""Servers as processes, ours and mlx-lm's, and a client that notes when each piece of an answer came."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from measuring import LIMIT_S

READY_S = 60


@dataclass(frozen=True, slots=True)
class Answer:
    """Times in seconds since the request was sent: of each event that shows text; ``tokens`` as the server counts them."""

    times_s: tuple[float, ...]
    tokens: int

    @property
    def first_s(self) -> float:
        return self.times_s[0]

    @property
    def tokens_per_s(self) -> float:
        """Of those after the first event."""
        return (self.tokens - 1) / (self.times_s[-1] - self.times_s[0])


@dataclass(frozen=True, slots=True)
class Running:
    """A server, and what it calls the model that it is asked for."""

    port: int
    pid: int
    model: str

    def ask(self, messages: Sequence[Mapping[str, str]], max_tokens: int, **fields: object) -> Answer:
        """A streamed, greedy chat."""
        body = {"model": self.model, "messages": messages, "max_tokens": max_tokens, "temperature": 0, **fields}
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        sent = time.perf_counter()
        connection = self.post(body)
        with contextlib.closing(connection):
            return _read(connection.getresponse(), sent)

    def post(self, body: object) -> http.client.HTTPConnection:
        """Send a chat, and leave the answer to come."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_S)
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body).encode(), headers)
        return connection

    def at_once(self, conversations: Sequence[Sequence[Mapping[str, str]]], max_tokens: int) -> tuple[float, list[Answer]]:
        """The conversations, each by a client of its own, and the seconds until the last one has its answer."""
        began = time.perf_counter()
        with ThreadPoolExecutor(len(conversations)) as clients:
            answers = [*clients.map(lambda messages: self.ask(messages, max_tokens), conversations)]
        return time.perf_counter() - began, answers

    def many_at_once(self, clients: int, max_tokens: int) -> list[Answer]:
        """The same streamed chat for all, listened to by one thread that only notes when bytes come: threads of ours would wait
        for each other and not for the server."""
        body = {"model": self.model, "messages": [{"role": "user", "content": "x"}], "max_tokens": max_tokens, "stream": True}
        request = _request(body)
        with selectors.DefaultSelector() as ready:
            listeners = [_Listener(self.port, request) for _ in range(clients)]
            for listener in listeners:
                ready.register(listener.connection, selectors.EVENT_READ, listener)
            while ready.get_map():
                for key, _ in ready.select(LIMIT_S):
                    if not key.data.hear():
                        ready.unregister(key.fileobj)
        return [listener.answer() for listener in listeners]

    def health(self) -> dict[str, object]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_S)
        with contextlib.closing(connection):
            connection.request("GET", "/health")
            answer = connection.getresponse()
            body = answer.read()
        return {"code": answer.status, **(json.loads(body) if body.startswith(b"{") else {})}


class _Listener:
    """One client of many: when it asked, and what it heard when."""

    def __init__(self, port: int, request: bytes) -> None:
        self._asked = time.perf_counter()
        self.connection = socket.create_connection(("127.0.0.1", port), LIMIT_S)
        self.connection.sendall(request)
        self._heard = b""
        self._times: list[tuple[int, float]] = []  # up to which byte was heard when

    def hear(self) -> bool:
        """Whether there is more to come."""
        self._heard += (new := self.connection.recv(1 << 16))
        self._times.append((len(self._heard), time.perf_counter() - self._asked))
        ended = not new or self._heard.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        if ended:
            self.connection.close()
        return not ended

    def answer(self) -> Answer:
        words = [said.start() for said in re.finditer(rb'"content": "[^"]', self._heard)]
        return Answer(tuple(next(time_s for end, time_s in self._times if end > word) for word in words), len(words))


def _request(body: object) -> bytes:
    encoded = json.dumps(body).encode()
    head = ("POST /v1/chat/completions HTTP/1.1", "Host: localhost", "Content-Type: application/json")
    return "\r\n".join((*head, f"Content-Length: {len(encoded)}", "", "")).encode() + encoded


@contextlib.contextmanager
def ours(tool: Path, model: str, *options: str, **environment: str) -> Iterator[Running]:
    argv = [tool, "serve", "--json", "--port", "0", "--log-level", "error", *options]
    with _process(argv, environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["data"]["port"]
        yield _ready(Running(port, process.pid, model))


@contextlib.contextmanager
def scripted(hub: Path, model: str) -> Iterator[Running]:
    """Our server with an engine that only keeps time: ``scripted_server.py``."""
    with _process([sys.executable, Path(__file__).with_name("scripted_server.py"), hub], {}, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield _ready(Running(int(process.stdout.readline()), process.pid, model))


@contextlib.contextmanager
def bare() -> Iterator[Running]:
    """Bottle on waitress alone: ``bare_server.py``."""
    with _process([sys.executable, Path(__file__).with_name("bare_server.py")], {}, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield _ready(Running(int(process.stdout.readline()), process.pid, "bare"))


@contextlib.contextmanager
def mlx_lm(binaries: Path, folder: Path, **environment: str) -> Iterator[Running]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = [binaries / "mlx_lm.server", "--model", folder, "--port", str(port), "--log-level", "ERROR"]
    with _process(argv, environment, stderr=subprocess.DEVNULL) as process:
        yield _ready(Running(port, process.pid, "default_model"))


@contextlib.contextmanager
def _process(argv: Sequence[str | Path], environment: Mapping[str, str], **pipes: int) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(argv, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, **pipes)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _ready(server: Running) -> Running:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if server.health()["code"] == 200:
                return server
        time.sleep(0.01)
    raise TimeoutError(f"the server on port {server.port} was not ready within {READY_S} s")


def _read(answer: http.client.HTTPResponse, sent: float) -> Answer:
    times: list[float] = []
    tokens = 0
    if answer.status != 200:
        raise RuntimeError(f"{answer.status}: {answer.read().decode()}")
    for line in answer:
        if not line.startswith(b"data: {"):
            continue
        event = json.loads(line[len(b"data: ") :])
        if any(choice["delta"].get("content") or choice["delta"].get("reasoning_content") for choice in event["choices"]):
            times.append(time.perf_counter() - sent)
        tokens = (event.get("usage") or {}).get("completion_tokens", tokens)
    return Answer(tuple(times), tokens)
