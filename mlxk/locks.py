"""Locks of files, as huggingface_hub holds them: got at once or not, and gone where their file was deleted."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

_NO_LOCKS = (errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK)


def try_lock(file: int, how: int) -> bool:
    """Whether the lock was got, as flock(2) gives it. A file system that has no locks gives every one. Raises OSError."""
    try:
        fcntl.flock(file, how)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


def still_there(file: int, path: Path) -> bool:
    """Whether the open ``file`` is what lies at ``path``: a lock whose file was deleted keeps nobody out any more."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False
