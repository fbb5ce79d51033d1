"""Loads one ``mlxk serve`` with all that clients do, for as long as it is told, and says whether it stayed as it was.

``python benchmarks/soak.py --minutes 30 --warm-up 5`` ends with 0 where, after the warm-up, memory grew by at most 5 %, threads
and open files by no more than there are clients, nothing was stuck, and no answer had a status that it should not have. The
warm-up is when every model is loaded for the first time, every thread gets its stack, and the prompt cache comes to its bound.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import http.client
import itertools
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
PARTS = 10
TAKEN = ("megabytes of its own", "megabytes resident", "threads", "files and sockets")
"""What a process has of its own does not shrink, as what is resident does, when others press what it shares out of memory."""


@dataclass(slots=True)
class Seen:
    """What clients saw, and what the process took at each sample after the warm-up, in the order of ``TAKEN``."""

    answers: collections.Counter[str] = field(default_factory=collections.Counter)
    wrong: list[str] = field(default_factory=list)
    warm_up: list[tuple[float, ...]] = field(default_factory=list)
    samples: list[tuple[float, ...]] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30, help="after the warm-up")
    parser.add_argument("--warm-up", type=float, default=5, metavar="MINUTES")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlxk-soak-") as scratch:
        session = Session(1, Path(scratch))
        environment = session.minted(*MODELS)
        with talking.ours(session.tool, MODELS[0], "--prompt-cache", "16", "--queue", "16", **environment) as server:
            seen = _load(server, 60 * arguments.warm_up, 60 * arguments.minutes, arguments.seed)
            idle = _comes_to_rest(server)
    complaints = [*seen.wrong[:10], *_growth(seen), *([] if idle else ["requests were still active when all clients had left"])]
    print(f"{sum(seen.answers.values())} requests: {dict(sorted(seen.answers.items()))}")
    for name, before, after in zip(TAKEN, zip(*seen.warm_up, strict=True), zip(*seen.samples, strict=True), strict=True):
        print(f"{name}: {before[0]:g} at first, {_curve(after)} after the warm-up, {max(*before, *after):g} at most")
    print("\n".join(complaints) or "nothing grew, nothing was stuck, nothing was wrong")
    return 1 if complaints else 0


def _load(server: Running, warm_up_s: float, seconds: float, seed: int) -> Seen:
    seen = Seen()
    warm = time.monotonic() + warm_up_s
    end = warm + seconds
    clients = [threading.Thread(target=_client, args=(server, seen, end, random.Random(seed + each))) for each in range(CLIENTS)]
    for client in clients:
        client.start()
    process = psutil.Process(server.pid)
    while time.monotonic() < end:
        memory = process.memory_full_info()
        taken = (memory.uss / 1e6, memory.rss / 1e6, process.num_threads(), process.num_fds())
        (seen.samples if time.monotonic() > warm else seen.warm_up).append(taken)
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


def _medians(column: tuple[float, ...]) -> list[float]:
    """Of ten equal parts of the time."""
    cuts = [len(column) * part // PARTS for part in range(PARTS + 1)]
    return [statistics.median(column[start:end] or column) for start, end in itertools.pairwise(cuts)]


def _curve(column: tuple[float, ...]) -> str:
    return " ".join(f"{median:.4g}" for median in _medians(column))


def _growth(seen: Seen) -> list[str]:
    """From the first two tenths of the time to the last two."""
    found = []
    for name, column in zip(TAKEN, zip(*seen.samples, strict=True), strict=True):
        medians = _medians(column)
        early, late = statistics.mean(medians[:2]), statistics.mean(medians[-2:])
        allowed = early * MOST_GROWTH if "megabytes" in name else early + CLIENTS
        if late > allowed:  # connections come and go, and there are as many threads as there ever were requests at once
            found.append(f"{name} grew from {early:.4g} to {late:.4g}")
    return found


if __name__ == "__main__":
    sys.exit(main())
