"""What the release gate measures: fresh servers of one environment, from outside, as their users meet them.

Every figure is a time or a size, so that less is better, and is chosen to be moved little by whatever else a machine does:
processor time for what is done once, and for what is repeated the least of many times, since a disturbance only ever adds.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from qualification.errors import EnvironmentUnfitError

ANSWERS = 16
"""How often the question is asked of each server; more cost little beside the start and load of one."""

METRICS: Mapping[str, str] = {
    "start_cpu_s": "processor time of a server that starts, answers /health and ends",
    "load_cpu_s": "processor time of a server until it has loaded its model and answered once",
    "answers_cpu_s": f"processor time of the server for {ANSWERS} answers more",
    "first_token_s": "from a request until its first text, the model being loaded",
    "token_s": "from one token to the next",
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
    tokens: int = 96


Sample = Mapping[str, float]
"""One value for each of ``METRICS``."""


def measure(tool: Path, workload: Workload) -> Sample:
    """Starts ``tool``'s server twice, asks the second, and stops it.

    Raises ``EnvironmentUnfitError`` where it does not serve or answer. Of this process's children no other may end meanwhile.
    """
    began = _spent_by_children_s()
    with _serving(tool, workload):
        pass
    start_cpu_s = _spent_by_children_s() - began
    with _serving(tool, workload) as (pid, host):
        _ask(host, workload)
        loaded_s = _spent_s(pid)
        firsts, rests = zip(*(_ask(host, workload) for _ in range(ANSWERS)), strict=True)
        answered_s = _spent_s(pid)
        memory = sum(process.memory_info().rss for process in _family(pid))
    return {
        "start_cpu_s": start_cpu_s,
        "load_cpu_s": loaded_s,
        "answers_cpu_s": answered_s - loaded_s,
        "first_token_s": min(firsts),
        "token_s": min(rests) / (workload.tokens - 1),
        "memory_bytes": float(memory),
    }


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
    """Seconds until the first text, and from there to the last. Raises where the answer is not the whole budget."""
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
    return times[0] - began, times[-1] - times[0]


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
    """User and system seconds so far of a process that runs, and of its children; Linux tells hundredths."""
    return sum(sum(process.cpu_times()[:4]) for process in _family(pid))


def _family(pid: int) -> list[psutil.Process]:
    own = psutil.Process(pid)
    return [own, *own.children(recursive=True)]
