"""Stands outside one cell's process: bounds its time, samples its memory, and leaves nothing of it alive, whatever happens.

Forked from ``python -m qualification.supervise`` with a pipe from the runner as stdin: when the runner dies, however it dies,
the pipe closes and the cell dies with it. The supervisor has a session of its own, so that a signal to the runner's group does
not reach it before it has cleaned up, and a parent, the guardian, that takes over should it be killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import selectors
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

from qualification import kinship, memory, processes
from qualification.errors import QualificationError
from qualification.forkserver import Forked, ForkServer, serve
from qualification.processes import GRACE_S, TOKEN

SAMPLE_INTERVAL_S = 0.2
"""Five samples a second, as the memory files of earlier releases have them."""

SOFT_SHARE = 0.8
"""Of the cell's time: then the stacks of its threads go into the log, and it goes on."""

STACKS_S = 1.0
"""How long a hanging process gets to write the stacks of its threads before it is asked to end."""

SETTLE_S = 0.5
"""How long children may take to follow a parent that ended by itself before they count as left behind."""

PATIENCE_S = STACKS_S + 3 * GRACE_S + 5
"""How long a supervisor may take beyond its cell's time, to start and to clean up; then something has stopped it."""

_NOT_STARTED = 127
"""As a shell has it."""

_KEPT_IN_MEMORY_LOG = ("ts", "cell", "tree_bytes", "processes", "available_bytes", "swap_used_bytes", "load_1")


How = Literal["exited", "timeout", "oom_guard", "orphaned"]


@dataclass(frozen=True, slots=True)
class Spec:
    """What to run: paths are absolute, times in seconds; ``environment`` is the whole of the process's environment.

    ``scratch`` is the directory that the runner removes after the cell, and the supervisor when the runner is gone.
    ``names`` says what the log holds afterwards in place of each absolute path. ``need_bytes`` is what the cell is expected to
    hold, 0 where nobody knows. ``progress`` is a file that the process writes once it can tell its stacks when asked.
    """

    cell: str
    argv: tuple[str, ...]
    cwd: str
    environment: dict[str, str]
    log: str
    memory_log: str
    result: str
    scratch: str
    names: dict[str, str]
    timeout_s: float
    need_bytes: int = 0
    progress: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """How it ended; ``peak_bytes`` is the largest sum over the process tree that a sample saw.

    ``orphaned`` is one whose supervisor was killed, or stopped for good; ``unstartable`` says why there was nothing to run, and
    ``distress`` why the ``oom_guard`` stopped it.
    """

    returncode: int
    how: How
    survivors: tuple[str, ...] = ()
    duration_s: float = 0.0
    peak_bytes: int = 0
    unstartable: str = ""
    distress: str = ""


class AbandonedError(QualificationError):
    """Nobody waits for the cell any more: the run was interrupted, or whoever started it is gone."""


def supervisors(name: str) -> ForkServer:
    """What forks a supervisor for each cell; ``name`` tells people in a list of processes what they belong to."""
    return ForkServer([sys.executable, "-m", "qualification.supervise", name])


def run(spec: Spec, spec_file: Path, abandoned: Callable[[], bool], forkserver: ForkServer | None = None) -> Result:
    """Runs ``spec`` under a supervisor of its own and waits for it; called by the runner.

    Raises AbandonedError, once the cell has been stopped, when ``abandoned`` says so.
    """
    spec_file.write_text(json.dumps(asdict(spec)), encoding="utf-8")
    with contextlib.ExitStack() as stack:
        forks = forkserver or stack.enter_context(supervisors(str(spec_file)))
        guardian = stack.enter_context(forks.fork(str(spec_file)))
        try:
            _attend(guardian, time.monotonic() + spec.timeout_s + PATIENCE_S, abandoned)
        except BaseException:
            guardian.abandon()
            guardian.wait(PATIENCE_S)
            raise
        finally:
            if guardian.returncode not in (0, 1):  # 1: its supervisor was killed, and it has cleaned up
                _stop_by_force(guardian, spec.environment[TOKEN])
    result = Path(spec.result)
    if not result.exists():
        return Result(-signal.SIGKILL if guardian.returncode is None else guardian.returncode, "orphaned")
    content = json.loads(result.read_text(encoding="utf-8"))
    return Result(**{**content, "survivors": tuple(content["survivors"])})


def forsake(spec_file: str) -> None:
    """The runner is gone, and may have left the scratch that ``spec_file`` lies in."""
    discard(Path(spec_file).parent)


def guard(spec_file: str) -> int:
    """Forks the supervisor, and only waits: killed, the one leaves all that was below it to the other.

    A supervisor that something has stopped, and that cannot clean up when the runner is gone, is killed.
    """
    spec = _read(spec_file)
    kinship.adopt_orphans()
    lives, life = os.pipe()  # its other end closes when the supervisor has ended
    supervisor = os.fork()
    if supervisor == 0:
        with Path(os.devnull).open("wb") as nowhere:  # the runner sees by our stdout when the guardian has ended
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        os._exit(_report(spec))
    os.close(life)
    if lives not in select.select([sys.stdin, lives], [], [])[0] and not select.select([lives], [], [], PATIENCE_S)[0]:
        os.kill(supervisor, signal.SIGKILL)
    _, status = os.waitpid(supervisor, 0)
    if status != 0:
        processes.sweep(spec.environment[TOKEN], below=True)
        _anonymise(Path(spec.log), spec.names)
        if select.select([sys.stdin], [], [], 0)[0]:  # the runner writes nothing: its end is closed
            discard(Path(spec.scratch))
    return min(status, 1)


def _read(spec_file: str) -> Spec:
    content = json.loads(Path(spec_file).read_text(encoding="utf-8"))
    return Spec(**{**content, "argv": tuple(content["argv"])})


def discard(scratch: Path) -> None:
    """Removes a directory in which tests may have made anything unreadable; nothing outside it is touched.

    What cannot be removed stays, and one that is gone already is fine.
    """
    with contextlib.suppress(OSError):
        scratch.chmod(0o700)
    for parent, names, _ in os.walk(scratch):  # lists a directory only after its parent's turn, when it can be read
        for directory in (Path(parent, name) for name in names):
            if not directory.is_symlink():
                with contextlib.suppress(OSError):
                    directory.chmod(0o700)
    shutil.rmtree(scratch, ignore_errors=True)


def anonymous(text: str, names: Mapping[str, str]) -> str:
    """``text`` with a name in place of each path; of two that begin alike the longer one counts."""
    if not names:
        return text
    paths = "|".join(re.escape(path) for path in sorted(names, key=len, reverse=True))
    return re.sub(rf"({paths})(?![\w-])", lambda found: names[found[0]], text)


def _attend(guardian: Forked, deadline: float, abandoned: Callable[[], bool]) -> None:
    """Waits for the guardian to end, which is late only if something stopped it."""
    while not guardian.wait(SAMPLE_INTERVAL_S):
        if abandoned():
            raise AbandonedError("the run was interrupted, or whoever started it is gone; the cell was stopped")
        if time.monotonic() > deadline:
            return


def _stop_by_force(guardian: Forked, token: str) -> None:
    """Ends a guardian that cannot clean up any more, and all that is known of its cell."""
    below = processes.descendants(guardian.pid)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(guardian.pid, signal.SIGKILL)
    processes.sweep(token, below)
    guardian.wait(PATIENCE_S)


def _report(spec: Spec) -> int:
    """Supervises, and tells the runner the result; when the runner is gone, removes the scratch in its stead."""
    kinship.adopt_orphans()
    result = _supervise(spec)
    _anonymise(Path(spec.log), spec.names)
    if result.how == "orphaned":
        discard(Path(spec.scratch))
        return 0
    partial = Path(spec.result + ".partial")
    partial.parent.mkdir(parents=True, exist_ok=True)  # a test may have removed it, or taken our rights away
    partial.parent.chmod(0o700)
    partial.write_text(json.dumps(asdict(result)), encoding="utf-8")
    partial.replace(spec.result)
    return 0


def _anonymise(log: Path, names: Mapping[str, str]) -> None:
    if log.exists():
        content = log.read_bytes().decode("utf-8", errors="surrogateescape")
        log.write_bytes(anonymous(content, names).encode("utf-8", errors="surrogateescape"))


def _supervise(spec: Spec) -> Result:
    started = time.monotonic()
    try:
        process = _start(spec)
    except OSError as error:
        return Result(_NOT_STARTED, "exited", unstartable=f"{spec.argv[0]} cannot be started: {error.strerror}")
    tree = _Tree()
    how = _watch(process, tree, spec, started)
    duration_s = time.monotonic() - started
    if how == "timeout":
        _tell_stacks(process, spec)
        _wait(process, STACKS_S)
    if how != "exited":
        _stop(process)
    settle_s = SETTLE_S if how == "exited" else 0.0
    survivors = processes.sweep(spec.environment[TOKEN], tree.seen, below=True, settle_s=settle_s)
    return Result(process.wait(), how, tuple(survivors), duration_s, tree.peak_bytes, distress=tree.distress)


def _start(spec: Spec) -> subprocess.Popen[bytes]:
    with Path(spec.log).open("ab") as log:
        return subprocess.Popen(
            spec.argv,
            cwd=spec.cwd,
            env=spec.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _watch(process: subprocess.Popen[bytes], tree: _Tree, spec: Spec, started: float) -> How:
    """Samples until the process ends, its time is over, it takes too much memory, or the runner's end of our stdin closes."""
    soft, hard = (started + share * spec.timeout_s for share in (SOFT_SHARE, 1))
    ended_read, ended_write = os.pipe()

    def tell_end() -> None:
        process.wait()
        os.close(ended_write)

    threading.Thread(target=tell_end, daemon=True).start()
    with selectors.DefaultSelector() as selector, Path(spec.memory_log).open("a", encoding="utf-8") as memory_log:
        selector.register(ended_read, selectors.EVENT_READ, "exited")
        selector.register(sys.stdin.fileno(), selectors.EVENT_READ, "orphaned")
        while True:
            memory_log.write(json.dumps(tree.sample(spec)) + "\n")
            memory_log.flush()
            processes.collect_adopted(own=process.pid)
            now = time.monotonic()
            if tree.distress:
                return "oom_guard"
            if now >= hard:
                return "timeout"
            if now >= soft:
                _tell_stacks(process, spec)
                soft = hard
            ready = {key.data for key, _ in selector.select(min(SAMPLE_INTERVAL_S, hard - now))}
            if "exited" in ready:
                os.close(ended_read)
                return "exited"
            if "orphaned" in ready:
                return "orphaned"


class _Tree:
    """The processes below this one, remembered by pid and start time, and their memory; ``distress`` is why that is too much."""

    def __init__(self) -> None:
        self.seen: set[psutil.Process] = set()
        self.peak_bytes = 0
        self.distress = ""
        self._meter = memory.Meter()
        self._living: dict[int, psutil.Process] = {}

    def sample(self, spec: Spec) -> dict[str, Any]:
        """One line of the memory log; bytes, seconds since the epoch."""
        living = processes.descendants(known=self._living)
        self._living = {process.pid: process for process in living}
        self.seen.update(living)
        tree_bytes = self._meter.measure(living)
        available_bytes, swap_used_bytes = memory.free()
        if memory.distress(tree_bytes, spec.need_bytes, available_bytes):
            tree_bytes = self._meter.measure(living, exactly=True)
            self.distress = memory.distress(tree_bytes, spec.need_bytes)
        self.peak_bytes = max(self.peak_bytes, tree_bytes)
        values = (
            round(time.time(), 3),
            spec.cell,
            tree_bytes,
            len(living),
            available_bytes,
            swap_used_bytes,
            round(os.getloadavg()[0], 2),
        )
        return dict(zip(_KEPT_IN_MEMORY_LOG, values, strict=True))


def _tell_stacks(process: subprocess.Popen[bytes], spec: Spec) -> None:
    """Asks for the stacks of all threads; a process that does not know the signal yet would die of it."""
    if spec.progress and Path(spec.progress).exists():
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGUSR1)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ends the cell's own process group: TERM, then KILL."""
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


if __name__ == "__main__":
    sys.exit(serve(guard, forsake, 2 * PATIENCE_S))
