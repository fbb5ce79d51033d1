"""Finds the processes of a cell wherever they went, and stops them.

A process is known as the cell's by its token, an environment variable that children inherit, or by descent. On Linux one that
gave up both its parents and its environment becomes a child of the supervisor; on macOS, which knows no such adoption, it
escapes.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import psutil

TOKEN = "QUALIFICATION_CELL_TOKEN"
"""The variable by which a process that left the group and its parents is still known as the cell's."""

GRACE_S = 5.0
"""How long a process has between TERM and KILL."""

_POLL_S = 0.02


def collect_adopted(own: int) -> None:
    """Collects ended children as init would have done, so that their pids are free; ``own`` is the child to leave alone."""
    if sys.platform == "linux":
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and ended.si_pid != own:
                os.waitpid(ended.si_pid, 0)


def descendants(pid: int | None = None, known: Mapping[int, psutil.Process] = MappingProxyType({})) -> list[psutil.Process]:
    """Every process below ``pid``, or below this process.

    Linux keeps a list of each thread's children, so that nothing of other processes has to be read; where there is none, the
    parents of all processes are. ``known`` are processes found a moment ago, which need not be looked up again.
    """
    pid = pid or os.getpid()
    if not _CHILDREN_OF_THIS_THREAD.exists():
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(pid).children(recursive=True)
        return []
    found: list[psutil.Process] = []
    left = [pid]
    while left:
        children = _children(left.pop())
        left += children
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                found.append(known.get(child) or psutil.Process(child))
    return found


_CHILDREN_OF_THIS_THREAD = Path("/proc/thread-self/children")


def _children(pid: int) -> list[int]:
    children: list[int] = []
    try:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            children += map(int, (thread / "children").read_text(encoding="ascii").split())
    except (FileNotFoundError, ProcessLookupError):  # it, or a thread of it, has ended meanwhile
        pass
    return children


def sweep(token: str, seen: Iterable[psutil.Process] = (), *, below: bool = False, settle_s: float = 0.0) -> Sequence[str]:
    """Stops what has the token or was ``seen`` as the cell's, and with ``below`` whatever descends from us; tells which.

    The youngest first: the oldest is the cell itself, which stops the others where we are killed in the midst of it.
    """
    _until_gone(_alive(token, seen, below), settle_s)
    left = sorted(_alive(token, seen, below), key=_began_s, reverse=True)
    if not left:
        return ()
    names = sorted({_name(process) for process in left})
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            process.terminate()
    _until_gone(left, GRACE_S)
    for process in _alive(token, seen, below):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            process.kill()
    return names


def _alive(token: str, seen: Iterable[psutil.Process], below: bool) -> list[psutil.Process]:
    known = {*seen, *_with_token(token)}
    known.update(descendants() if below else ())
    return [process for process in known if process.pid != os.getpid() and _is_running(process)]


def _until_gone(processes: Sequence[psutil.Process], patience_s: float) -> None:
    """Waits until none of them runs. A zombie does not: who must collect it is its parent's affair."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline and any(_is_running(process) for process in processes):
        time.sleep(_POLL_S)


def _is_running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _began_s(process: psutil.Process) -> float:
    """In seconds since 1970; 0 for one that has ended meanwhile."""
    try:
        return float(process.create_time())
    except psutil.NoSuchProcess:
        return 0.0


def _with_token(token: str) -> Iterator[psutil.Process]:
    """All processes of this machine that have it; what another user's have is not ours to read."""
    if sys.platform != "linux":
        yield from (process for process in psutil.process_iter() if _token_of(process) == token)
        return
    entry = f"{TOKEN}={token}".encode()
    for folder in os.scandir("/proc"):  # a tenth of the time that psutil takes, and there may be hundreds
        if folder.name.isdecimal():
            with contextlib.suppress(OSError, psutil.NoSuchProcess), open(f"{folder.path}/environ", "rb") as file:  # noqa: PTH123
                if entry in file.read().split(b"\0"):
                    yield psutil.Process(int(folder.name))


def _token_of(process: psutil.Process) -> str | None:
    try:
        token: str | None = process.environ().get(TOKEN)
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess, OSError):
        return None
    return token


def _name(process: psutil.Process) -> str:
    """``python (pid 12, listening on port 8000)``."""
    try:
        return f"{process.name()} (pid {process.pid}{_ports(process)})"
    except psutil.NoSuchProcess:
        return f"pid {process.pid}"


def _ports(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.AccessDenied):
        ports = {each.laddr.port for each in process.net_connections("inet") if each.status == psutil.CONN_LISTEN}
        if ports:
            return f", listening on port {', '.join(map(str, sorted(ports)))}"
    return ""
