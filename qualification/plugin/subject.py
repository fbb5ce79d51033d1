"""How a test meets the tool: by its command and over HTTP, in processes that end with the test."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

from qualification import settings
from qualification.plugin import measuring
from qualification.plugin.models import tool

_CALL_TIMEOUT_S = 100
_READY_TIMEOUT_S = 60
_STOP_TIMEOUT_S = 20
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Called:
    """A finished command; ``stdout`` and ``stderr`` are text."""

    code: int
    stdout: str
    stderr: str

    @property
    def envelope(self) -> dict[str, Any]:
        """The one JSON object that stdout must be. Fails the test where it is not."""
        parsed = json.loads(self.stdout)
        assert isinstance(parsed, dict) and set(parsed) == {"status", "command", "data", "error"}, parsed
        return parsed


def call(*arguments: str, stdin: str | bytes = b"", environment: Mapping[str, str] | None = None) -> Called:
    """Runs the tool in a pipe and waits for it."""
    given = stdin.encode("utf-8") if isinstance(stdin, str) else stdin
    done = subprocess.run(
        [*tool(), *arguments],
        input=given,
        env={**settings.whole(), **(environment or {})},
        capture_output=True,
        timeout=_CALL_TIMEOUT_S,
        check=False,
    )
    called = Called(done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8"))
    if done.returncode == 0 and "--json" in arguments and arguments[0] == "run":
        measuring.hear(measuring.of_command(called.envelope["data"]))
    return called


@dataclass(frozen=True, slots=True)
class Shown:
    """What a terminal received from a finished command, in the pieces that could be read as they came."""

    code: int
    pieces: tuple[bytes, ...]

    @property
    def text(self) -> str:
        """All of it, line ends as ``\\n``."""
        return b"".join(self.pieces).decode("utf-8").replace("\r\n", "\n")

    @property
    def came_in_pieces(self) -> bool:
        """Whether the last line came bit by bit. Who prints all at once has the terminal pass on whole lines."""
        last = b"".join(self.pieces).splitlines()[-1]
        return not any(last in piece for piece in self.pieces)


def on_terminal(*arguments: str) -> Shown:
    """Runs the tool with a terminal as its stdout."""
    ours, theirs = os.openpty()
    process = subprocess.Popen([*tool(), *arguments], stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    received = []
    deadline = time.monotonic() + _CALL_TIMEOUT_S
    try:
        while select.select([ours], [], [], max(0.0, deadline - time.monotonic()))[0]:
            with suppress(OSError):  # Linux tells the end of a terminal by an error
                chunk = os.read(ours, 4096)
                if chunk:
                    received.append(chunk)
                    continue
            break
        process.communicate(timeout=max(0.1, deadline - time.monotonic()))
    finally:
        process.kill()
        os.close(ours)
    return Shown(process.returncode, tuple(received))


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response; ``body`` as bytes, header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        parsed = json.loads(self.body)
        assert isinstance(parsed, dict), parsed
        return parsed


@dataclass(frozen=True, slots=True)
class Stream:
    """A server-sent event stream, parsed strictly: every data line but the last is JSON, the last is ``[DONE]``."""

    events: tuple[dict[str, Any], ...]
    done: bool

    @property
    def pieces(self) -> list[str]:
        """The content deltas that are not empty."""
        choices = [choice for event in self.events for choice in event["choices"]]
        return [content for choice in choices if (content := choice["delta"].get("content"))]

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def finish_reasons(self) -> list[str]:
        choices = [choice for event in self.events for choice in event["choices"]]
        return [choice["finish_reason"] for choice in choices if choice["finish_reason"] is not None]


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A running ``mlxk serve``; every request has a connection of its own."""

    url: str
    process: subprocess.Popen[bytes]

    def get(self, path: str) -> Answer:
        return self.request("GET", path)

    def post(self, path: str, body: object) -> Answer:
        return self.request("POST", path, json.dumps(body).encode("utf-8"), {"Content-Type": "application/json"})

    def request(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Answer:
        connection = self._connect()
        try:
            began = time.perf_counter()
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            read, arrivals = b"", [(0, time.perf_counter() - began)]
            while piece := response.read1(1 << 16):
                read += piece
                arrivals.append((len(read), time.perf_counter() - began))
            answer = Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, read)
        finally:
            connection.close()
        if method == "POST" and answer.status == 200:
            kind = answer.headers.get("content-type", "")
            measuring.hear(measuring.of_exchange(measuring.Exchange(path, body or b"", kind, read, tuple(arrivals))))
        return answer

    def chat(self, model: str, messages: Sequence[Mapping[str, Any]], **parameters: Any) -> Answer:
        """A batch chat completion, greedy unless told otherwise."""
        return self.post("/v1/chat/completions", {"model": model, "messages": list(messages), "temperature": 0, **parameters})

    def transcribe(self, model: str, recording: bytes, name: str = "recording.wav", **fields: str) -> Answer:
        """A transcription; the recording goes as a file of that name in a form."""
        boundary = secrets.token_hex(16)
        body = b""
        for field, value in {"model": model, **fields}.items():
            head = f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n'
            body += f"{head}{value}\r\n".encode()
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
        body += head.encode() + recording + f"\r\n--{boundary}--\r\n".encode()
        content_type = f"multipart/form-data; boundary={boundary}"
        return self.request("POST", "/v1/audio/transcriptions", body, {"Content-Type": content_type})

    def stream_chat(self, model: str, messages: Sequence[Mapping[str, Any]], **parameters: Any) -> Stream:
        """The same as a stream, with usage unless told otherwise. Fails the test where the stream is not well-formed."""
        answer = self.chat(model, messages, stream=True, **{"stream_options": {"include_usage": True}, **parameters})
        assert answer.status == 200, answer.body
        assert answer.headers["content-type"].startswith("text/event-stream"), answer.headers
        return parse_stream(answer.body)

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=_CALL_TIMEOUT_S)


def parse_stream(body: bytes) -> Stream:
    """Reads events as the HTML standard defines them, in the one form that OpenAI's API uses: ``data: `` and a blank line."""
    events = []
    done = False
    for block in body.decode("utf-8").removesuffix("\n\n").split("\n\n"):
        data = [line.removeprefix("data: ") for line in block.split("\n") if not line.startswith(":")]
        assert len(data) <= 1 and not done, f"not one data line before [DONE]: {block!r}"
        if data == ["[DONE]"]:
            done = True
        elif data:
            events.append(json.loads(data[0]))
    return Stream(tuple(events), done)


@contextmanager
def serving(*arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[LocalServer]:
    """Starts ``mlxk serve`` on a free port, waits until ``/health`` is 200, and stops it with SIGTERM and a check."""
    with starting(*arguments, environment=environment) as server:
        _until_ready(server)
        yield server


@contextmanager
def starting(*arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[LocalServer]:
    """As ``serving``, without waiting for more than the address that the server announces."""
    argv = [*tool(), "serve", "--json", "--port", "0", *arguments]
    process = subprocess.Popen(
        argv,
        env={**settings.whole(), **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        announced = _announced(process)
        yield LocalServer(f"http://{announced['host']}:{announced['port']}", process)
    finally:
        _stop(process)


def _announced(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """The data of the one line that ``serve --json`` prints into a pipe before it serves."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], _READY_TIMEOUT_S)
    assert ready, f"the server announced no address within {_READY_TIMEOUT_S} s"
    envelope = json.loads(process.stdout.readline())
    assert envelope["status"] == "success", envelope["error"]
    data: dict[str, Any] = envelope["data"]
    return data


def _until_ready(server: LocalServer) -> None:
    deadline = time.monotonic() + _READY_TIMEOUT_S
    while True:
        with suppress(OSError):
            if server.get("/health").status == 200:
                return
        assert server.process.poll() is None, f"the server ended with code {server.process.returncode} before it was ready"
        assert time.monotonic() < deadline, "the server was not ready in time"
        time.sleep(_POLL_S)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        pytest.fail(f"the server did not end within {_STOP_TIMEOUT_S} s of SIGTERM", pytrace=False)
    finally:
        if process.stdout:
            process.stdout.close()
