"""The server with an engine that only keeps time: every 20 ms one word for each request. Prints its port; SIGTERM ends it."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from mlxk.compatibility import Packages
from mlxk.engines import Finished, Job, Started, Text, Timings, Usage
from mlxk.library import Library
from mlxk.server import logs
from mlxk.server.app import Policy, make_app
from mlxk.server.lifecycle import Server, bind
from mlxk.server.worker import Limits, Worker

TICK_S = 0.020


class Ticking:
    """An engine and its batch in one."""

    def __init__(self) -> None:
        self._jobs: list[tuple[Job, int]] = []
        self._due = 0.0

    def batch(self, _prompt_cache_bytes: int) -> Ticking:
        return self

    def close(self) -> None:
        self._jobs = []

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, job: Job) -> None:
        job.put(Started())
        self._jobs.append((job, 0))

    def step(self) -> None:
        now = time.perf_counter()
        self._due = max(self._due + TICK_S, now)
        time.sleep(self._due - now)
        self._jobs = [(job, said + 1) for job, said in self._jobs if not job.cancelled() and self._speak(job, said)]

    def _speak(self, job: Job, said: int) -> bool:
        job.put(Text(f"{said} "))
        if said + 1 < (job.request.max_tokens or 1):
            return True
        job.put(Finished("length", Usage(1, said + 1), Timings(0.0, TICK_S, 1 / TICK_S, 1 / TICK_S, 0.0)))
        return False


def main() -> None:
    logs.configure("error", as_json=False)
    limits = Limits(together=50, prompt_cache_bytes=0)
    worker = Worker(lambda _model, _modality: Ticking(), lambda: None, limits)  # type: ignore[arg-type, return-value]
    library = Library(Path(sys.argv[1]).expanduser(), Packages.installed())
    server = Server(make_app(library, worker, Policy()), bind("127.0.0.1", 0), limits.together + limits.waiting)
    server.start()
    server.take_signals()
    print(server.bound.getsockname()[1], flush=True)
    worker.start(on_death=server.end)
    server.run()
    worker.close()
    server.drain(worker.cancel_all)


if __name__ == "__main__":
    main()
