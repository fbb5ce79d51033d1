"""Copying files on write where the file system can, so that a copy of a model of any size costs nothing until it is changed."""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

FICLONE = 0x40049409
"""Linux's ioctl for a reflink: _IOW(0x94, 9, int) in linux/fs.h."""

How = Literal["cloned", "copied"]


def copy_file(source: Path, target: Path) -> How:
    """Copy one file, and say how. The target must not exist. Raises OSError where it cannot be read or written."""
    if sys.platform == "darwin":
        if _clonefile(source, target):
            return "cloned"
    elif _reflink(source, target):
        return "cloned"
    shutil.copyfile(source, target)
    return "copied"


def copy_tree(source: Path, target: Path, wanted: Callable[[Path], bool] = lambda path: True) -> How:
    """Copy what is ``wanted`` of a folder, links as links. ``cloned`` only where every file was."""
    how: set[How] = set()

    def copied(one: str, other: str) -> None:
        how.add(copy_file(Path(one), Path(other)))

    def unwanted(place: str, names: list[str]) -> list[str]:
        return [name for name in names if not wanted(Path(place, name))]

    shutil.copytree(source, target, symlinks=True, ignore=unwanted, copy_function=copied)
    return "cloned" if how == {"cloned"} else "copied"


def _reflink(source: Path, target: Path) -> bool:
    with source.open("rb") as read, target.open("xb") as written:
        try:
            fcntl.ioctl(written.fileno(), FICLONE, read.fileno())
        except OSError:  # another file system, or one that cannot
            return False
    return True


def _clonefile(source: Path, target: Path) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.clonefile(os.fsencode(source), os.fsencode(target), 0) == 0)
