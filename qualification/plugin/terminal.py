"""A person at a terminal: what they type, and what they then see."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from qualification import settings

CTRL_C = "\x03"
CTRL_D = "\x04"
CTRL_U = "\x15"
UP = "\x1b[A"

_TIMEOUT_S = 60
_TAKE_TERMINAL = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
"""Only the terminal that a session has taken as its own turns Ctrl-C into a signal."""
_CONTROL_SEQUENCE = re.compile(rb"\x1b[\[\]()#;?]*(?:\d+(?:;\d+)*)?[A-Za-z<=>]")


class Person:
    """Types, and waits until it sees something. ``seen`` is all the text so far, with ``\\n`` for a line's end."""

    def __init__(self, process: subprocess.Popen[bytes], keyboard: int) -> None:
        self.process = process
        self._keyboard = keyboard
        self._received = b""
        self._read_to = 0

    @property
    def seen(self) -> str:
        return _CONTROL_SEQUENCE.sub(b"", self._received).decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "")

    def type(self, keys: str) -> None:
        os.write(self._keyboard, keys.encode("utf-8"))

    def sees(self, text: str) -> str:
        """Waits for the text to appear after what was waited for before; returns what came up to its end. Fails in time."""
        deadline = time.monotonic() + _TIMEOUT_S
        while (place := self.seen.find(text, self._read_to)) < 0:
            assert self._receive(deadline), f"{text!r} did not appear; the terminal shows {self.seen!r}"
        came = self.seen[self._read_to : place + len(text)]
        self._read_to = place + len(text)
        return came

    def leaves(self) -> int:
        """Waits for the tool to end; its exit code."""
        deadline = time.monotonic() + _TIMEOUT_S
        while self._receive(deadline):
            pass
        return self.process.wait(timeout=_TIMEOUT_S)

    def _receive(self, deadline: float) -> bool:
        """Whether anything came before the terminal was closed."""
        ready, _, _ = select.select([self._keyboard], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"nothing came for {_TIMEOUT_S} s; the terminal shows {self.seen!r}"
        try:
            chunk = os.read(self._keyboard, 4096)
        except OSError:  # Linux tells the end of a terminal by an error
            chunk = b""
        self._received += chunk
        return bool(chunk)


@contextmanager
def sitting_at(argv: Sequence[str], environment: Mapping[str, str] | None = None) -> Iterator[Person]:
    """Runs a command whose input, output and errors are a terminal of its own; it is killed if it is still there at the end."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", _TAKE_TERMINAL, *argv],
        env={**settings.whole(), "TERM": "xterm", **(environment or {})},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield Person(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
