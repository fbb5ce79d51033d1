"""What the release gate measures: fresh servers of two environments, from outside, as their users meet them.

Every figure is a time or a size, so that less is better, and is chosen to be moved little by whatever else a machine does:
processor time where that is what matters, and of what is repeated the least, since a disturbance only ever adds. The least of
many short answers varies by 2 % on a machine with three times the work that it has cores for, their sum by 13 %.
The two servers of a pair stand beside each other and answer in turns of less than a tenth of a second, so that a machine that
grows slower for a while does so for both.
"""

from __future__ import annotations

import http.client
import json
import resource
import select
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from qualification.errors import EnvironmentUnfitError

ANSWERS = 32
"""How often the question is asked of each server; more cost little beside the start and load of one."""
STARTS = 2

METRICS: Mapping[str, str] = {
    "start_cpu_s": f"processor time of a server that starts, answers /health and ends, the least of {STARTS}",
    "load_cpu_s": "processor time of a server until it has loaded its model and answered once",
    "answer_cpu_s": f"processor time of the server for an answer, the least of {ANSWERS}",
    "first_token_s": f"from a request until its first text, the model being loaded, the least of {ANSWERS}",
    "token_s": f"from one token to the next, of the quickest of {ANSWERS} answers",
    "memory_bytes": "resident memory of the server and its children after the last answer",
}
"""What a sample holds, and what each figure is."""

_TIMEOUT_S = 60.0
_POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class Workload:
    """``tokens`` is the budget of each answer; ``environment`` is all that the server's process sees of variables."""

    model: str
    prompt: str
    environment: Mapping[str, str]
    tokens: int = 32


Sample = Mapping[str, float]
"""One value for each of ``METRICS``."""


def measure(tools: tuple[Path, Path], workload: Workload) -> tuple[Sample, Sample]:
    """Starts the server of each tool and stops it; then starts both again, asks them in turns, and stops them.

    Raises ``EnvironmentUnfitError`` where one does not serve or answer. Of this process's children no other may end meanwhile.
    """
    starts = [[_start_cpu_s(tool, workload) for tool in tools] for _ in range(STARTS)]
    least = [min(of_one) for of_one in zip(*starts, strict=True)]
    with _serving(tools[0], workload) as one, _serving(tools[1], workload) as other:
        servers = [_Server(least[0], *one), _Server(least[1], *other)]
        for server in servers:
            server.load(workload)
        for number in range(ANSWERS):
            for server in servers[:: -1 if number % 2 else 1]:
                server.answer(workload)
        return servers[0].figures(workload), servers[1].figures(workload)


@dataclass(slots=True)
class _Server:
    """One that runs at ``host``, what it took so far, and what one took that did nothing."""

    start_cpu_s: float
    pid: int
    host: str
    load_cpu_s: float = 0.0
    spent: list[float] = field(default_factory=list)
    firsts: list[float] = field(default_factory=list)
    wholes: list[float] = field(default_factory=list)

    def load(self, workload: Workload) -> None:
        _ask(self.host, workload)
        self.load_cpu_s = _spent_s(self.pid)

    def answer(self, workload: Workload) -> None:
        began = _spent_s(self.pid)
        first, whole = _ask(self.host, workload)
        self.spent.append(_spent_s(self.pid) - began)
        self.firsts.append(first)
        self.wholes.append(whole)

    def figures(self, workload: Workload) -> dict[str, float]:
        return {
            "start_cpu_s": self.start_cpu_s,
            "load_cpu_s": self.load_cpu_s,
            "answer_cpu_s": min(self.spent),
            "first_token_s": min(self.firsts),
            "token_s": (min(self.wholes) - min(self.firsts)) / (workload.tokens - 1),
            "memory_bytes": float(sum(process.memory_info().rss for process in _family(self.pid))),
        }


def _start_cpu_s(tool: Path, workload: Workload) -> float:
    began = _spent_by_children_s()
    with _serving(tool, workload):
        pass
    return _spent_by_children_s() - began


def _spent_by_children_s() -> float:
    """User and system seconds of all children that have ended, in microseconds exactly."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


@contextmanager
def _serving(tool: Path, workload: Workload) -> Iterator[tuple[int, str]]:
    """The pid and address of a healthy server, which has ended when the block has."""
    argv = [str(tool), "serve", "--json", "--port", "0"]
    variables = dict(workload.environment)
    process = subprocess.Popen(argv, env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        host = _announced(process)
        _until_healthy(process, host)
        yield process.pid, host
    finally:
        process.terminate()
        try:
            process.wait(_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()


def _announced(process: subprocess.Popen[bytes]) -> str:
    """Host and port of the one line that ``serve --json`` prints before it serves."""
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], _TIMEOUT_S)[0]:
        raise EnvironmentUnfitError(f"the server announced no address within {_TIMEOUT_S:g} s")
    said = process.stdout.readline()
    if not said:
        raise EnvironmentUnfitError(f"the server ended with code {process.wait(_TIMEOUT_S)} before it announced its address")
    data = json.loads(said)["data"]
    return f"{data['host']}:{data['port']}"


def _until_healthy(process: subprocess.Popen[bytes], host: str) -> None:
    deadline = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), _connected(host) as connection:
            connection.request("GET", "/health")
            if connection.getresponse().status == http.client.OK:
                return
        time.sleep(_POLL_S)
    raise EnvironmentUnfitError(f"the server was not healthy within {_TIMEOUT_S:g} s, or ended (code {process.poll()})")


def _ask(host: str, workload: Workload) -> tuple[float, float]:
    """Seconds from the request until the first text, and until the last: from the first to the last they may all come at once,
    if this process was kept from reading. Raises where the answer is not the whole budget.
    """
    request = {
        "model": workload.model,
        "messages": [{"role": "user", "content": workload.prompt}],
        "max_tokens": workload.tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    with _connected(host) as connection:
        began = time.perf_counter()
        connection.request("POST", "/v1/chat/completions", json.dumps(request), {"Content-Type": "application/json"})
        response = connection.getresponse()
        if response.status != http.client.OK:
            raise EnvironmentUnfitError(f"the server answered {response.status}: {response.read(500).decode(errors='replace')}")
        times, tokens = [], 0
        for event in _events(response):
            if any(choice["delta"].get("content") for choice in event["choices"]):
                times.append(time.perf_counter())
            tokens = (event.get("usage") or {}).get("completion_tokens", tokens)
    if tokens != workload.tokens or len(times) < 2:
        raise EnvironmentUnfitError(f"{workload.model} answered {tokens} tokens in {len(times)} pieces, not {workload.tokens}")
    return times[0] - began, times[-1] - began


def _events(response: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    for line in response:
        if line.startswith(b"data: ") and line != b"data: [DONE]\n":
            yield json.loads(line[6:])


@contextmanager
def _connected(host: str) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(host, timeout=_TIMEOUT_S)
    try:
        yield connection
    finally:
        connection.close()


def _spent_s(pid: int) -> float:
    """User and system seconds so far of a process that runs, and of its children.

    Linux tells hundredths of a process and nanoseconds of each thread that lives; those of a server do while it serves.
    """
    try:
        told = [thread.read_text(encoding="ascii") for thread in Path("/proc").glob(f"{pid}/task/*/schedstat")]
    except FileNotFoundError:  # a thread that ended meanwhile
        return _spent_s(pid)
    if told:
        return sum(int(each.split()[0]) for each in told) / 1e9 + sum(_spent_s(child.pid) for child in _family(pid)[1:])
    return sum(sum(process.cpu_times()[:4]) for process in _family(pid))


def _family(pid: int) -> list[psutil.Process]:
    own = psutil.Process(pid)
    return [own, *own.children(recursive=True)]
