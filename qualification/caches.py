"""Tells whether a hub cache is as it was: names, sizes and times of everything in it, and no content."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

Fingerprint = Mapping[str, tuple[int, int]]
"""Size in bytes and time of change in nanoseconds by path below the cache."""


def fingerprint(hub: Path | None) -> Fingerprint:
    """Of every file, link and folder below ``hub``; nothing where there is none.

    Strings and scandir: a cache of 1,000 models, with 22,000 entries, takes 0.12 s.
    """
    found: dict[str, tuple[int, int]] = {}
    folders = [""] if hub else []
    while folders:
        folder = folders.pop()
        try:
            entries = os.scandir(f"{hub}/{folder}")
        except OSError:  # gone while we looked, or closed to us, before as after
            continue
        with entries:
            for entry in entries:
                try:
                    state = entry.stat(follow_symlinks=False)
                except FileNotFoundError:  # somebody else took it away while we looked
                    continue
                found[folder + entry.name] = (state.st_size, state.st_mtime_ns)
                if entry.is_dir(follow_symlinks=False):
                    folders.append(f"{folder}{entry.name}/")
    return found


def changes(before: Fingerprint, after: Fingerprint) -> tuple[str, ...]:
    """What was added, removed or changed, by path. A folder's own size and time are left to what happened in it."""
    names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    inside = {parent.as_posix() for name in names for parent in Path(name).parents}
    return tuple(name for name in names if name not in inside)
