"""Stands outside one cell's process: bounds its time, samples its memory, and leaves nothing of it alive, whatever happens.

Run as ``python -m qualification.supervise SPEC`` with a pipe from the runner as stdin: when the runner dies, however it dies,
the pipe closes and the cell dies with it. The supervisor has a session of its own, so that a signal to the runner's group
does not reach it before it has cleaned up.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

from qualification.errors import QualificationError

SAMPLE_INTERVAL_S = 0.2
"""Five samples a second, as the memory files of earlier releases have them."""

STACKS_S = 1.0
"""How long a hanging process gets to write the stacks of its threads before it is asked to end."""

GRACE_S = 5.0
"""How long a process group has between TERM and KILL."""

SETTLE_S = 0.5
"""How long children may take to follow a parent that ended by itself before they count as left behind."""

_POLL_S = 0.02

TOKEN = "QUALIFICATION_CELL_TOKEN"
"""The variable by which a process that left the group and its parents is still known as the cell's."""

_KEPT_IN_MEMORY_LOG = ("ts", "cell", "tree_bytes", "processes", "available_bytes", "swap_used_bytes", "load_1")


@dataclass(frozen=True, slots=True)
class Spec:
    """What to run: paths are absolute, times in seconds; ``environment`` is the whole of the process's environment.

    ``scratch`` is the directory that the runner removes after the cell, and the supervisor when the runner is gone.
    """

    cell: str
    argv: tuple[str, ...]
    cwd: str
    environment: dict[str, str]
    log: str
    memory_log: str
    result: str
    scratch: str
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Result:
    """How it ended; ``peak_bytes`` is the largest sum over the process tree that a sample saw."""

    returncode: int
    how: Literal["exited", "timeout", "orphaned"]
    survivors: tuple[str, ...]
    duration_s: float
    peak_bytes: int


class AbandonedError(QualificationError):
    """Nobody waits for the cell any more: the run was interrupted, or whoever started it is gone."""


def run(spec: Spec, spec_file: Path, abandoned: Callable[[], bool]) -> Result:
    """Runs ``spec`` under a supervisor of its own and waits for it; called by the runner.

    Raises AbandonedError, once the cell has been stopped, when ``abandoned`` says so.
    """
    spec_file.write_text(json.dumps(asdict(spec)), encoding="utf-8")
    argv = [sys.executable, "-m", "qualification.supervise", str(spec_file)]
    supervisor = subprocess.Popen(argv, stdin=subprocess.PIPE, start_new_session=True)
    try:
        code = _attend(supervisor, abandoned)
    except BaseException:
        _close(supervisor)
        raise
    result = Path(spec.result)
    if not result.exists():
        _sweep(spec.environment[TOKEN], ())
        return Result(code, "orphaned", (), 0.0, 0)
    content = json.loads(result.read_text(encoding="utf-8"))
    return Result(**{**content, "survivors": tuple(content["survivors"])})


def main() -> int:
    """The supervisor's own process."""
    content = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    spec = Spec(**{**content, "argv": tuple(content["argv"])})
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # and not SIG_IGN, which the cell would inherit
    result = _supervise(spec)
    if result.how == "orphaned":
        shutil.rmtree(spec.scratch, ignore_errors=True)
        return 0
    partial = Path(spec.result + ".partial")
    partial.write_text(json.dumps(asdict(result)), encoding="utf-8")
    partial.replace(spec.result)
    return 0


def _attend(supervisor: subprocess.Popen[bytes], abandoned: Callable[[], bool]) -> int:
    while not _wait(supervisor, SAMPLE_INTERVAL_S):
        if abandoned():
            raise AbandonedError("the run was interrupted, or whoever started it is gone; the cell was stopped")
    return supervisor.returncode


def _close(supervisor: subprocess.Popen[bytes]) -> None:
    """Lets the supervisor see that its runner is gone, and waits until it has cleaned up."""
    if supervisor.stdin:
        supervisor.stdin.close()
    supervisor.wait(timeout=STACKS_S + 2 * GRACE_S + 5)


def _supervise(spec: Spec) -> Result:
    started = time.monotonic()
    with Path(spec.log).open("ab") as log:
        process = subprocess.Popen(
            spec.argv,
            cwd=spec.cwd,
            env=spec.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    tree = _Tree(process.pid)
    how = _watch(process, tree, spec, deadline=started + spec.timeout_s)
    duration_s = time.monotonic() - started
    if how != "exited":
        _stop(process, stacks=how == "timeout")
    survivors = _sweep(spec.environment[TOKEN], tree.seen, settle_s=SETTLE_S if how == "exited" else 0.0)
    return Result(process.wait(), how, tuple(survivors), duration_s, tree.peak_bytes)


def _watch(
    process: subprocess.Popen[bytes], tree: _Tree, spec: Spec, deadline: float
) -> Literal["exited", "timeout", "orphaned"]:
    """Samples until the process ends, its time is over, or the runner's end of our stdin closes."""
    ended_read, ended_write = os.pipe()

    def tell_end() -> None:
        process.wait()
        os.close(ended_write)

    threading.Thread(target=tell_end, daemon=True).start()
    with selectors.DefaultSelector() as selector, Path(spec.memory_log).open("a", encoding="utf-8") as memory:
        selector.register(ended_read, selectors.EVENT_READ, "exited")
        selector.register(sys.stdin.fileno(), selectors.EVENT_READ, "orphaned")
        while True:
            memory.write(json.dumps(tree.sample(spec.cell)) + "\n")
            memory.flush()
            left = deadline - time.monotonic()
            if left <= 0:
                return "timeout"
            ready = {key.data for key, _ in selector.select(min(SAMPLE_INTERVAL_S, left))}
            if "exited" in ready:
                os.close(ended_read)
                return "exited"
            if "orphaned" in ready:
                return "orphaned"


class _Tree:
    """The processes below one, remembered by pid and start time, and their memory."""

    def __init__(self, root: int) -> None:
        self.seen: set[psutil.Process] = set()
        self.peak_bytes = 0
        with contextlib.suppress(psutil.NoSuchProcess):
            self.seen.add(psutil.Process(root))
        self._root = root

    def sample(self, cell: str) -> dict[str, Any]:
        """One line of the memory log; bytes, seconds since the epoch."""
        living = self._living()
        tree_bytes = sum(_memory_bytes(process) for process in living)
        self.peak_bytes = max(self.peak_bytes, tree_bytes)
        values = (
            round(time.time(), 3),
            cell,
            tree_bytes,
            len(living),
            psutil.virtual_memory().available,
            psutil.swap_memory().used,
            round(os.getloadavg()[0], 2),
        )
        return dict(zip(_KEPT_IN_MEMORY_LOG, values, strict=True))

    def _living(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(self._root)
            living = [root, *root.children(recursive=True)]
            self.seen.update(living)
            return living
        return []


def _memory_bytes(process: psutil.Process) -> int:
    """Proportional share where the system tells it (Linux), else what is this process's alone, else resident size."""
    try:
        full = process.memory_full_info()
        return int(getattr(full, "pss", 0) or getattr(full, "uss", 0) or full.rss)
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return 0


def _stop(process: subprocess.Popen[bytes], stacks: bool) -> None:
    """Ends the cell's own process group: stacks into the log, then TERM, then KILL."""
    if stacks:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGUSR1)
        _wait(process, STACKS_S)
    for number, patience_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, GRACE_S)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        if _wait(process, patience_s):
            break
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _wait(process: subprocess.Popen[bytes], patience_s: float) -> bool:
    try:
        process.wait(timeout=patience_s)
    except subprocess.TimeoutExpired:
        return False
    return True


def _sweep(token: str, seen: Iterable[psutil.Process], settle_s: float = 0.0) -> Sequence[str]:
    """Stops every process that is known as the cell's, by having been seen below it or by its token; tells which."""
    _until_gone(_alive(token, seen), settle_s)
    left = _alive(token, seen)
    names = sorted({_name(process) for process in left})
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            process.terminate()
    _until_gone(left, GRACE_S)
    for process in _alive(token, seen):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            process.kill()
    return names


def _until_gone(processes: Sequence[psutil.Process], patience_s: float) -> None:
    """Waits until none of them runs. A zombie does not: who must collect it is its parent's affair."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline and any(_is_running(process) for process in processes):
        time.sleep(_POLL_S)


def _alive(token: str, seen: Iterable[psutil.Process]) -> list[psutil.Process]:
    known = set(seen) | {process for process in psutil.process_iter() if _token_of(process) == token}
    return [process for process in known if process.pid != os.getpid() and _is_running(process)]


def _is_running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _token_of(process: psutil.Process) -> str | None:
    try:
        token: str | None = process.environ().get(TOKEN)
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess, OSError):
        return None
    return token


def _name(process: psutil.Process) -> str:
    try:
        return f"{process.name()} (pid {process.pid})"
    except psutil.NoSuchProcess:
        return f"pid {process.pid}"


if __name__ == "__main__":
    raise SystemExit(main())
