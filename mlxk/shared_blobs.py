"""The client's store of blobs that several models share: what of it only the models that go would still need.

<hub>/blobs/.huggingface-shared-blobs   says "1", and that the folder is such a store
<hub>/blobs/<2 digits>/<hash>           the content; beside it <hash>.refs with the links to it, one on a line, and <hash>.lock

huggingface_hub (from 1.32 on) keeps files of the Xet store so. Its rule is ours: what no list of links speaks for stays.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from mlxk.files import read_part

_MARKER, _LAYOUT = ".huggingface-shared-blobs", b"1\n"
_ENTRY = re.compile(r"[0-9a-f]{64}")
_REFS_MAX_BYTES = 16 << 20


def needed_only_by(hub: Path, links: Iterable[Path]) -> tuple[Path, ...]:
    """The contents that these blobs of models lead to, and no other blob does."""
    store = hub / "blobs"
    if read_part(str(store / _MARKER), 16) != _LAYOUT:
        return ()
    by_entry: dict[Path, set[Path]] = {}
    for link in links:
        if link.is_symlink() and _is_entry(entry := _target(link), store):
            by_entry.setdefault(entry, set()).add(_place(link))
    return tuple(sorted(entry for entry, mine in by_entry.items() if _users(hub, entry) == mine))


def locks(entries: Iterable[Path]) -> tuple[Path, ...]:
    """What a download holds while it adds to an entry, or links to it."""
    return tuple(entry.with_name(f"{entry.name}.lock") for entry in entries)


def delete(entries: Iterable[Path]) -> None:
    for entry in entries:
        entry.unlink(missing_ok=True)
        _refs(entry).unlink(missing_ok=True)


def _users(hub: Path, entry: Path) -> set[Path]:
    """The links to it that its list knows of and that are still there; none where the list cannot be read."""
    lines = read_part(str(_refs(entry)), _REFS_MAX_BYTES).decode("utf-8", "replace").splitlines()
    listed = [hub / line for line in lines if line and not line.startswith("/") and ".." not in line.split("/")]
    return {_place(link) for link in listed if link.is_symlink() and _target(link) == entry}


def _refs(entry: Path) -> Path:
    return entry.with_name(f"{entry.name}.refs")


def _is_entry(entry: Path, store: Path) -> bool:
    return entry.is_file() and _ENTRY.fullmatch(entry.name) is not None and entry.parent == _place(store / entry.name[:2])


def _target(link: Path) -> Path:
    return Path(os.path.realpath(link))


def _place(path: Path) -> Path:
    """Where it is, a link itself and not what it leads to."""
    return Path(os.path.realpath(path.parent)) / path.name
