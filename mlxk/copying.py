"""Copying a file: without copying its bytes where the file system can (APFS, Btrfs, XFS and others), byte by byte elsewhere."""

from __future__ import annotations

import ctypes
import ctypes.util
import fcntl
import os
import shutil
import sys
from pathlib import Path

_FICLONE = 0x40049409  # Linux, include/uapi/linux/fs.h: _IOW(0x94, 9, int)


def copy(source: Path, target: Path) -> None:
    """Make ``target``, which must not be there, a file of its own with the content of ``source``.

    Raises OSError, and leaves nothing then.
    """
    try:
        if not (_clone_on_macos(source, target) if sys.platform == "darwin" else _clone_on_linux(source, target)):
            shutil.copyfile(source, target)
    except FileExistsError:
        raise
    except OSError:
        target.unlink(missing_ok=True)
        raise


def move_or_copy(source: Path, target: Path) -> None:
    """Give the file a second name, for a source that is about to go; copy it where the file system knows no second names."""
    try:
        os.link(source, target)
    except OSError:
        copy(source, target)


def _clone_on_linux(source: Path, target: Path) -> bool:
    with source.open("rb") as read, target.open("xb") as written:
        try:
            fcntl.ioctl(written.fileno(), _FICLONE, read.fileno())
        except OSError:
            return False
    return True


def _clone_on_macos(source: Path, target: Path) -> bool:
    """clonefile(2), which follows a link that is its source."""
    libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
    return bool(libc.clonefile(os.fsencode(source), os.fsencode(target), 0) == 0)
