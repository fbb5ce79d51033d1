"""Forks a child for each task from one process that has imported what they need, which takes longer than a small task.

As multiprocessing's fork server, but each child has a session of its own, learns by its stdin that the client is gone, and tells
by its stdout when it has ended: who waits for it needs no thread, and is not its parent.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from types import TracebackType

from qualification.errors import EnvironmentUnfitError

_ANSWER_S = 10.0
"""How long the server may take to start and to fork; then something has stopped it."""

_END_S = 2.0
"""How long it may take to collect its last children and end."""

_LONGEST_TASK = 65536


class Forked:
    """A child, as its client sees it: ``returncode`` is None while it runs, and -9 where it ended without a word."""

    def __init__(self, pid: int, life: int, end: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._life: int | None = life
        self._end = end

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *_: object) -> None:
        self.abandon()
        os.close(self._end)

    def wait(self, patience_s: float) -> bool:
        """Whether it has ended within so many seconds."""
        if self.returncode is None and select.select([self._end], [], [], patience_s)[0]:
            said = b"".join(iter(lambda: os.read(self._end, 16), b""))
            self.returncode = int(said) if said else -signal.SIGKILL
        return self.returncode is not None

    def abandon(self) -> None:
        """Lets it see at its stdin that nobody waits for it any more."""
        if self._life is not None:
            os.close(self._life)
            self._life = None


class ForkServer:
    """The client's side. ``argv`` starts a process that calls ``serve``; it ends with its client, however that ends."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._argv = argv
        self._lock = threading.Lock()
        self._running: tuple[subprocess.Popen[bytes], socket.socket] | None = None

    def __enter__(self) -> ForkServer:
        """Started at once: it can import while its client has something else to do."""
        with self._lock:
            self._start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._lock:
            self._end(_END_S)

    def fork(self, task: str) -> Forked:
        """A child that does ``task``, which is one line; where something has killed or stopped the server, by another one.

        Raises EnvironmentUnfitError where there is no other one either.
        """
        with self._lock:
            for _ in range(2):
                try:
                    return self._ask(task)
                except (OSError, EOFError) as error:
                    self._end(0.0)
                    failure = error
        raise EnvironmentUnfitError(f"no process could be forked for {task}: {failure}")

    def _ask(self, task: str) -> Forked:
        server = self._running[1] if self._running else self._start()
        theirs, life = os.pipe()
        end, told = os.pipe()
        try:
            socket.send_fds(server, [f"{task}\n".encode()], [theirs, told])
            return Forked(_number(server.recv(16)), life, end)
        except BaseException:
            os.close(life)
            os.close(end)
            raise
        finally:
            os.close(theirs)
            os.close(told)

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        ours.settimeout(_ANSWER_S)
        with theirs:
            process = subprocess.Popen(self._argv, stdin=theirs.fileno(), stdout=subprocess.DEVNULL, start_new_session=True)
        self._running = process, ours
        return ours

    def _end(self, patience_s: float) -> None:
        if self._running is None:
            return
        process, server = self._running
        self._running = None
        server.close()
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _number(answer: bytes) -> int:
    if not answer:
        raise EOFError("the fork server has ended")
    return int(answer)


def serve(work: Callable[[str], int]) -> int:
    """Forks for each task that comes over stdin a child that does ``work`` and exits with what it returns, until nobody asks.

    Signals to end are heard and ignored: a child does what it must when its client is gone.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # and not SIG_IGN, which what a child starts would inherit
    client = socket.socket(fileno=sys.stdin.fileno())
    while asked := _asked(client):
        task, life, told = asked
        _collect(os.WNOHANG)
        child = os.fork()
        if child == 0:
            _be_child(work, task, life, told)
        os.close(life)
        os.close(told)
        with contextlib.suppress(BrokenPipeError):
            client.sendall(b"%d" % child)
    _collect(0)
    return 0


def _asked(client: socket.socket) -> tuple[str, int, int] | None:
    content, descriptors, _, _ = socket.recv_fds(client, _LONGEST_TASK, 2)
    if not content:
        return None
    while not content.endswith(b"\n"):
        content += client.recv(_LONGEST_TASK)
    life, told = descriptors
    return content[:-1].decode(), life, told


def _be_child(work: Callable[[str], int], task: str, life: int, told: int) -> None:
    """Does not return. Nothing of the interpreter is cleaned up: that takes as long as all the rest of a child's end."""
    code = 1
    try:
        os.setsid()
        for descriptor, standard in ((life, sys.stdin.fileno()), (told, sys.stdout.fileno())):
            os.dup2(descriptor, standard)
            os.close(descriptor)
        code = work(task)
        os.write(sys.stdout.fileno(), b"%d" % code)
    except BaseException:  # noqa: BLE001 - said, and the end of the child all the same
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def _collect(how: int) -> None:
    """Children that have ended: until then nobody else gets their numbers."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, how)[0]:
            pass
