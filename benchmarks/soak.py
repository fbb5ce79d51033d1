"""Loads one ``mlxk serve`` with all that clients do, for as long as it is told, and says whether it stayed as it was.

``python benchmarks/soak.py --minutes 30`` ends with 0 where memory grew by at most 5 % after the first fifth of the time, threads
and open files did not grow at all, nothing was stuck, and no answer had a status that it should not have.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import http.client
import json
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import talking
from session import Session
from talking import Running

MODELS = ("mint/llama-tiny", "mint/qwen3-tiny", "mint/gemma3-tiny")
QUESTIONS = ("Hello!", "Tell me a story.", "Write one sentence about cats.", "What color is the sky?", "Name a river.")
CLIENTS = 6
SAMPLE_S = 2.0
MOST_GROWTH = 1.05


@dataclass(slots=True)
class Seen:
    """What clients saw, and what the process took at each sample: megabytes, threads, open files and sockets."""

    answers: collections.Counter[str] = field(default_factory=collections.Counter)
    wrong: list[str] = field(default_factory=list)
    samples: list[tuple[float, int, int]] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlxk-soak-") as scratch:
        session = Session(1, Path(scratch))
        environment = session.minted(*MODELS)
        with talking.ours(session.tool, MODELS[0], "--prompt-cache", "16", "--queue", "16", **environment) as server:
            seen = _load(server, 60 * arguments.minutes, arguments.seed)
            idle = _comes_to_rest(server)
    complaints = [*seen.wrong[:10], *_growth(seen), *([] if idle else ["requests were still active when all clients had left"])]
    print(f"{sum(seen.answers.values())} requests: {dict(sorted(seen.answers.items()))}")
    for name, column in zip(("megabytes", "threads", "files and sockets"), zip(*seen.samples, strict=True), strict=True):
        early, late = _early_and_late(column)
        print(f"{name}: {early:g} early, {late:g} late, {max(column):g} at most")
    print("\n".join(complaints) or "nothing grew, nothing was stuck, nothing was wrong")
    return 1 if complaints else 0


def _load(server: Running, seconds: float, seed: int) -> Seen:
    seen = Seen()
    end = time.monotonic() + seconds
    clients = [threading.Thread(target=_client, args=(server, seen, end, random.Random(seed + each))) for each in range(CLIENTS)]
    for client in clients:
        client.start()
    process = psutil.Process(server.pid)
    while time.monotonic() < end:
        seen.samples.append((process.memory_info().rss / 1e6, process.num_threads(), process.num_fds()))
        time.sleep(SAMPLE_S)
    for client in clients:
        client.join(120)
        if client.is_alive():
            seen.wrong.append("a client waits for its answer for two minutes")
    return seen


def _client(server: Running, seen: Seen, end: float, dice: random.Random) -> None:
    ways: tuple[tuple[Callable[[Running, random.Random], str], int], ...] = (
        (_batch, 6), (_stream, 6), (_leave, 4), (_bad, 3), (_look, 2),
    )  # fmt: skip
    actions = [way for way, often in ways for _ in range(often)]
    while time.monotonic() < end:
        action = dice.choice(actions)
        try:
            seen.answers[action(server, dice)] += 1
        except Exception as error:  # noqa: BLE001 - whatever a client meets is what the soak is for
            seen.wrong.append(f"{action.__name__[1:]}: {type(error).__name__}: {error}")


def _question(dice: random.Random, **fields: object) -> dict[str, object]:
    """Mostly of one model, so that models are switched, but not with every request."""
    messages = [{"role": "user", "content": f"{dice.choice(QUESTIONS)}{' word' * dice.choice((0, 0, 5, 60))}"}]
    asked = {"model": MODELS[0] if dice.random() < 0.9 else dice.choice(MODELS), "messages": messages}
    return {**asked, "max_tokens": dice.randint(1, 60), "temperature": dice.choice((0, 0, 1)), **fields}


def _answered(connection: http.client.HTTPConnection, allowed: tuple[int, ...]) -> tuple[int, bytes]:
    with contextlib.closing(connection):
        answer = connection.getresponse()
        body = answer.read()
    if answer.status not in allowed:
        raise RuntimeError(f"{answer.status}: {body[:200].decode()}")
    return answer.status, body


def _batch(server: Running, dice: random.Random) -> str:
    status, body = _answered(server.post(_question(dice, seed=dice.randint(0, 9), logprobs=dice.random() < 0.3)), (200, 503))
    if status == 200 and json.loads(body)["choices"][0]["finish_reason"] not in ("stop", "length"):
        raise RuntimeError("no reason why it ended")
    return f"batch {status}"


def _stream(server: Running, dice: random.Random) -> str:
    status, body = _answered(server.post(_question(dice, stream=True)), (200, 503))
    if status == 200 and not body.endswith(b"data: [DONE]\n\n"):
        raise RuntimeError(f"a stream ends with {body[-100:]!r}")
    return f"stream {status}"


def _leave(server: Running, dice: random.Random) -> str:
    """Go at any moment: before the answer, while it comes, or just after it."""
    connection = server.post(_question(dice, stream=dice.random() < 0.5))
    time.sleep(dice.choice((0, 0.005, 0.05, 0.2)))
    connection.close()
    return "left"


def _bad(server: Running, dice: random.Random) -> str:
    wrong: dict[str, object] = dice.choice(
        (
            {"temperature": 9},
            {"stop": 5},
            {"messages": []},
            {"model": "no/such"},
            {"model": "../x"},
            {"tools": [{}]},
            {"messages": 5},
        )
    )
    status, _ = _answered(server.post(_question(dice) | wrong), (400, 404))
    return f"bad {status}"


def _look(server: Running, dice: random.Random) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("GET", dice.choice(("/health", "/metrics", "/v1/models")))
    return f"look {_answered(connection, (200,))[0]}"


def _comes_to_rest(server: Running) -> bool:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        health = server.health()
        if health["active"] == health["waiting"] == 0:
            return True
        time.sleep(0.1)
    return False


def _early_and_late(column: tuple[float, ...]) -> tuple[float, float]:
    """Medians of the second fifth of the time, when all models were loaded once, and of the last one."""
    fifth = max(1, len(column) // 5)
    return statistics.median(column[fifth : 2 * fifth] or column), statistics.median(column[-fifth:])


def _growth(seen: Seen) -> list[str]:
    memory, threads, files = (_early_and_late(column) for column in zip(*seen.samples, strict=True))
    found = []
    if memory[1] > memory[0] * MOST_GROWTH:
        found.append(f"memory grew from {memory[0]:.0f} MB to {memory[1]:.0f} MB")
    if threads[1] > threads[0]:
        found.append(f"threads grew from {threads[0]:g} to {threads[1]:g}")
    if files[1] > files[0] + CLIENTS:  # connections come and go
        found.append(f"open files and sockets grew from {files[0]:g} to {files[1]:g}")
    return found


if __name__ == "__main__":
    sys.exit(main())
