"""The content of small files: a part read quickly, where not being able to is no surprise; written whole or not at all."""

from __future__ import annotations

import os


def read_part(path: str, length: int, offset: int = 0) -> bytes:
    """Up to ``length`` bytes; fewer where the file ends, and none where it cannot be read.

    A string and system calls, because Path and open() cost ten times as much, which a cache of a thousand models shows.
    O_NONBLOCK, because a pipe that lies among the files would otherwise be waited on for ever.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (OSError, ValueError):
        return b""
    try:
        return os.pread(file, length, offset)
    except OSError:
        return b""
    finally:
        os.close(file)


def write_whole(path: str, content: bytes) -> None:
    """Put the file in place in one step: whoever reads it sees the old content or the new one. Raises OSError."""
    beside = f"{path}.{os.getpid()}.new"
    try:
        file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            rest = memoryview(content)
            while rest:  # a system call may take less than it is given
                rest = rest[os.write(file, rest) :]
            os.fsync(file)
        finally:
            os.close(file)
        os.replace(beside, path)  # noqa: PTH105 - strings throughout, see above
    except OSError:
        if os.path.lexists(beside):
            os.unlink(beside)  # noqa: PTH108
        raise
