"""Whether a model's files hold what the Hub published: told offline, by hashes that the cache and workspaces keep."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlxk import hashes, workspace
from mlxk.health import Problem
from mlxk.library import Model


@dataclass(frozen=True, slots=True, eq=False)
class Verified:
    """``files`` were hashed; of ``unknown`` nobody here knows the hash that they should have."""

    problems: tuple[Problem, ...]
    files: int
    unknown: int


def verify(model: Model) -> Verified:
    """Read every file whose hash is known. What is missing is for ``health`` to tell."""
    known = dict(_of_blobs(model) if model.snapshot.cached else _of_workspace(model))
    there = [path for path, size in model.contents.files.items() if size is not None]
    expected = {path: known[path] for path in there if path in known}
    found = [problem for path, etag in expected.items() if (problem := _judge(model, path, etag)) is not None]
    return Verified(tuple(found), len(expected), len(there) - len(expected) - (workspace.SENTINEL in there))


def _judge(model: Model, path: str, etag: str) -> Problem | None:
    try:
        real = hashes.of_file(f"{model.snapshot.folder}/{path}", etag)
    except OSError as error:
        return Problem("unreadable", f"{path} cannot be read: {error.strerror}.", path)
    if real == etag:
        return None
    return Problem("content_mismatch", f"{path} is not what the Hub published: its hash is {real}, and should be {etag}.", path)


def _of_blobs(model: Model) -> Iterator[tuple[str, str]]:
    """A snapshot's file is a link to a blob, and a blob's name is the hash of its content."""
    for path in model.contents.files:
        file = Path(model.snapshot.folder, path)
        if file.is_symlink() and hashes.is_name(name := file.readlink().name):
            yield path, name


def _of_workspace(model: Model) -> Iterator[tuple[str, str]]:
    """A clone keeps the Hub's hashes in its sentinel."""
    pinned = workspace.sentinel(model.snapshot.folder)
    kept = pinned.document.get("hub_files") if pinned is not None else None
    for path, etag in kept.items() if isinstance(kept, dict) else ():
        if isinstance(etag, str) and hashes.is_name(etag):
            yield path, etag
