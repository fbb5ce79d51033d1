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
import time
from collections.abc import Callable, Sequence
from io import FileIO

from qualification.errors import EnvironmentUnfitError

_START_S = 60.0
"""How long the server may take to import what its children need, on a machine that does much else."""

_ANSWER_S = 10.0
"""How long it may take to fork; then something has stopped it."""

_END_S = 2.0
"""How long it may take to end when its client wants no more."""

_LONGEST_TASK = 65536

_BEGIN, _NEVER_MIND = b"+", b"-"
"""What a child is told first; a client that is gone tells it nothing."""

_FAREWELL = b"\n"
"""What the server is told last, for the same reason."""


class Forked:
    """A child, as its client sees it: ``returncode`` is None while it runs, and -9 where it ended without a word."""

    def __init__(self, pid: int, life: FileIO, end: FileIO) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._life = life
        self._end = end

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *_: object) -> None:
        self._life.close()
        self._end.close()

    def wait(self, patience_s: float) -> bool:
        """Whether it has ended within so many seconds."""
        if self.returncode is None and select.select([self._end], [], [], patience_s)[0]:
            said = os.read(self._end.fileno(), 16)
            self.returncode = int(said) if said else -signal.SIGKILL
        return self.returncode is not None

    def abandon(self) -> None:
        """Lets it see at its stdin that nobody waits for it any more."""
        self._life.close()


class ForkServer:
    """The client's side. ``argv`` starts a process that calls ``serve``; it ends with its client, however that ends."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._argv = argv
        self._lock = threading.Lock()
        self._running: tuple[subprocess.Popen[bytes], socket.socket] | None = None
        self._ready = False

    def __enter__(self) -> ForkServer:
        """Started at once: it can import while its client has something else to do."""
        with self._lock:
            self._start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._end(_END_S)

    def prepare(self) -> None:
        """Waits until it could fork at once; what keeps it from that is said by the next ``fork``."""
        with self._lock, contextlib.suppress(OSError, EOFError):
            self._server()

    def fork(self, task: str) -> Forked:
        """A child that does ``task``, which is one line; where something has killed or stopped the server, by another one.

        Raises EnvironmentUnfitError where there is no other one either, and ValueError for a task of more than 64 KiB.
        """
        line = f"{task}\n".encode()
        if len(line) > _LONGEST_TASK:
            raise ValueError(f"a task has {len(line):,} bytes, and may have {_LONGEST_TASK:,}")
        with self._lock:
            try:
                return self._begun(line)
            except _LostError:
                pass
            try:
                return self._begun(line)
            except _LostError as error:
                raise EnvironmentUnfitError(f"no process could be forked for {task}: {error}") from error

    def _begun(self, line: bytes) -> Forked:
        """With pipes of its own: a child of which we never heard has others, and never begins. Raises _LostError."""
        with contextlib.ExitStack() as stack:
            try:
                (theirs, life), (end, told) = _pipe(stack), _pipe(stack)
            except OSError as error:
                raise _LostError(error.strerror) from error
            try:
                child = Forked(self._ask(line, theirs, told), life, end)
            except BaseException as error:
                self._end(0.0)  # its answer may still come, and would be taken for the next one
                _say(life, _NEVER_MIND)
                if isinstance(error, (OSError, EOFError)):
                    raise _LostError(str(error)) from error
                raise
            _say(life, _BEGIN)
            theirs.close()
            told.close()
            stack.pop_all()
            return child

    def _ask(self, line: bytes, theirs: FileIO, told: FileIO) -> int:
        server = self._server()
        server.settimeout(_ANSWER_S)
        socket.send_fds(server, [line], [theirs.fileno(), told.fileno()])
        number = int(_received(server, _ANSWER_S))
        if number < 0:
            raise OSError(-number, os.strerror(-number))
        return number

    def _server(self) -> socket.socket:
        _, server = self._running or self._start()
        if not self._ready:
            _received(server, _START_S)
            self._ready = True
        return server

    def _start(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(self._argv, stdin=theirs.fileno(), stdout=subprocess.DEVNULL, start_new_session=True)
        self._running, self._ready = (process, ours), False
        return self._running

    def _end(self, patience_s: float) -> None:
        if self._running is None:
            return
        process, server = self._running
        self._running = None
        with contextlib.suppress(OSError):  # it may have ended before
            server.sendall(_FAREWELL)
        server.close()
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_END_S)


class _LostError(Exception):
    """There is no child, or nobody knows its number."""


def _pipe(stack: contextlib.ExitStack) -> tuple[FileIO, FileIO]:
    read, write = os.pipe()
    return stack.enter_context(FileIO(read, "rb")), stack.enter_context(FileIO(write, "wb"))


def _say(life: FileIO, word: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):  # it was killed since, or never was
        life.write(word)


def _received(server: socket.socket, patience_s: float) -> bytes:
    server.settimeout(patience_s)
    answer = server.recv(16)
    if not answer:
        raise EOFError("the fork server has ended")
    return answer


def serve(work: Callable[[str], int], forsake: Callable[[str], None], patience_s: float) -> int:
    """Forks for each task that comes over stdin a child that does ``work`` and exits with what it returns, until nobody asks.

    Where its client is gone without a farewell, it does ``forsake`` for every task once no child is left.
    Signals to end are heard and ignored: a child does what it must when its client is gone, for which it has ``patience_s``.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # and not SIG_IGN, which what a child starts would inherit
    client = socket.socket(fileno=sys.stdin.fileno())
    children: set[int] = set()
    tasks: set[str] = set()
    with contextlib.suppress(ConnectionError):
        client.sendall(b"ready")
        while asked := _asked(client):
            task, life, told = asked
            tasks.add(task)
            _collect(children)
            client.sendall(b"%d" % _forked(work, asked, children))
            os.close(life)
            os.close(told)
        tasks.clear()
    deadline = time.monotonic() + patience_s
    while _collect(children) and time.monotonic() < deadline:
        time.sleep(0.02)
    for child in children:  # something has stopped them
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)
    for task in tasks:
        forsake(task)
    return 0


def _asked(client: socket.socket) -> tuple[str, int, int] | None:
    """A task, or None for the farewell. Raises ConnectionError where the client is gone without one."""
    content, descriptors, _, _ = socket.recv_fds(client, _LONGEST_TASK, 2)
    while content and not content.endswith(b"\n"):
        more = client.recv(_LONGEST_TASK)
        content = content + more if more else b""
    if content == _FAREWELL:
        return None
    if not content or len(descriptors) != 2:
        raise ConnectionError("the client is gone")
    life, told = descriptors
    return content[:-1].decode(), life, told


def _forked(work: Callable[[str], int], asked: tuple[str, int, int], children: set[int]) -> int:
    """The child's number, or less than zero the error that kept it from being."""
    try:
        child = os.fork()
    except OSError as error:
        return -(error.errno or 1)
    if child == 0:
        _be_child(work, *asked)
    children.add(child)
    return child


def _be_child(work: Callable[[str], int], task: str, life: int, told: int) -> None:
    """Does not return. Nothing of the interpreter is cleaned up: that takes as long as all the rest of a child's end."""
    code = 1
    try:
        os.setsid()
        for descriptor, standard in ((life, sys.stdin.fileno()), (told, sys.stdout.fileno())):
            os.dup2(descriptor, standard)
            os.close(descriptor)
        if os.read(sys.stdin.fileno(), 1) == _BEGIN:
            code = work(task)
        with contextlib.suppress(BrokenPipeError):
            os.write(sys.stdout.fileno(), b"%d" % code)
    except BaseException:  # noqa: BLE001 - said, and the end of the child all the same
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def _collect(children: set[int]) -> bool:
    """Takes away those that have ended; until then nobody else gets their numbers. Whether some are left."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG)[0]) != 0:
            children.discard(ended)
    return bool(children)
