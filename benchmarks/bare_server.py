"""Bottle on waitress and next to nothing else, over the clock of ``scripted_server.py``: what our server is measured beside.

Whoever asks during a tick is heard from with the next one, as by an engine that is busy. Prints its port; SIGTERM ends it.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Iterator

from bottle import Bottle, request, response
from scripted_server import TICK_S
from waitress import create_server

THREADS = 64


class Clock:
    """Puts a word into every queue, every 20 ms."""

    def __init__(self) -> None:
        self._came: queue.SimpleQueue[tuple[queue.SimpleQueue[str | None], int]] = queue.SimpleQueue()
        threading.Thread(target=self._tick, daemon=True).start()

    def words(self, count: int) -> Iterator[str]:
        said: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._came.put((said, count))
        while (word := said.get()) is not None:
            yield word

    def _tick(self) -> None:
        heard: list[tuple[queue.SimpleQueue[str | None], int, int]] = []
        due = 0.0
        while True:
            while not heard or not self._came.empty():
                heard.append((*self._came.get(), 0))
            now = time.perf_counter()
            due = max(due + TICK_S, now)
            time.sleep(due - now)
            heard = [(said, count, done + 1) for said, count, done in heard if _speak(said, count, done)]


def _speak(said: queue.SimpleQueue[str | None], count: int, done: int) -> bool:
    said.put(f"{done} ")
    if done + 1 < count:
        return True
    said.put(None)
    return False


def main() -> None:
    logging.getLogger("waitress.queue").setLevel("ERROR")
    app, clock = Bottle(), Clock()

    @app.get("/health")
    def health() -> str:
        return "{}"

    @app.post("/v1/chat/completions")
    def chat() -> Iterator[bytes]:
        words = json.loads(request.body.read())["max_tokens"]
        response.content_type = "text/event-stream"
        return _events(clock, words)

    server = create_server(app, host="127.0.0.1", port=0, threads=THREADS, channel_request_lookahead=1)
    print(server.effective_port, flush=True)
    server.run()


def _events(clock: Clock, words: int) -> Iterator[bytes]:
    for word in clock.words(words):
        event = {"id": "bare", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": word}}]}
        yield f"data: {json.dumps(event)}\n\n".encode()
    yield b"data: [DONE]\n\n"


if __name__ == "__main__":
    main()
