"""The hash that pins what a workspace holds, and whether it was changed since."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any
from unicodedata import normalize

from mlxk import __version__
from mlxk.errors import OperationFailed, UsageError
from mlxk.files import read_part, write_whole
from mlxk.workspace import SENTINEL, Sentinel, sentinel

_ALGORITHM = "v2"
_HEADER_MAX_BYTES = 100 << 20
_WHOLE_MAX_BYTES = 1 << 30  # a larger file that is not safetensors is known by its name and size
_PIECE_BYTES = 1 << 20


def clean(folder: str, pinned: Sentinel | None) -> bool | None:
    """Whether the content is still what the sentinel pinned; None where nothing is pinned.

    Only a file whose size or time differs from the pinned ones is read.
    """
    index = pinned.document.get("file_index") if pinned is not None else None
    if pinned is None or pinned.document.get("hash_algorithm") != _ALGORITHM or not isinstance(index, list):
        return None
    then = {entry["path"]: entry for entry in index if isinstance(entry, dict) and isinstance(entry.get("path"), str)}
    try:
        now = dict(_files(folder))
        return then.keys() == now.keys() and all(_unchanged(folder, path, stat, then[path]) for path, stat in now.items())
    except OSError:  # it is being changed at this moment
        return False


def pin(folder: str) -> Sentinel:
    """Pin the content as it is now, in the sentinel that is already there. Raises UsageError where there is none."""
    before = sentinel(folder)
    if before is None or not before.managed:
        raise UsageError(
            f"{folder} has no {SENTINEL} of mlxk, so there is no hash to renew. `mlxk clone` makes workspaces with one."
        )
    try:
        index = [
            {"path": path, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha": _file_hash(folder, path)}
            for path, stat in _files(folder)
        ]
    except OSError as error:
        raise OperationFailed(f"{error.filename} cannot be read: {error.strerror}.") from error
    document = before.document | {
        "mlxk_version": __version__,
        "hash_algorithm": _ALGORITHM,
        "content_hash": _content_hash([(str(entry["path"]), str(entry["sha"])) for entry in index]),
        "hash_modified": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "file_index": index,
    }
    try:
        write_whole(f"{folder}/{SENTINEL}", json.dumps(document, indent=1).encode("utf-8"))
    except OSError as error:
        raise OperationFailed(f"{folder}/{SENTINEL} cannot be written: {error.strerror}.") from error
    return Sentinel(before.managed, before.origin, document["content_hash"], document["hash_modified"], document)


def _files(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    """The files that are hashed, in the order of their names: all but the sentinel and what lies in a hidden folder."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(place, name)
            relative = path.relative_to(folder).as_posix()
            if relative != SENTINEL and path.is_file():
                yield relative, path.stat()


def _unchanged(folder: str, path: str, stat: os.stat_result, then: dict[str, Any]) -> bool:
    if stat.st_size != then.get("size"):
        return False
    return stat.st_mtime_ns == then.get("mtime_ns") or _file_hash(folder, path) == then.get("sha")


def _content_hash(files: list[tuple[str, str]]) -> str:
    records = sorted(normalize("NFC", path) + "\0" + sha for path, sha in files)
    return "sha256:" + sha256("\n".join(records).encode("utf-8", "surrogateescape")).hexdigest()


def _file_hash(folder: str, path: str) -> str:
    """Of safetensors the header, which names every tensor and its place; of other files all, up to 1 GiB."""
    where = f"{folder}/{path}"
    size = Path(where).stat().st_size
    if path.endswith(".safetensors"):
        length = int.from_bytes(read_part(where, 8), "little")
        return sha256(read_part(where, 8 + min(length, _HEADER_MAX_BYTES))).hexdigest()
    if size > _WHOLE_MAX_BYTES:
        return sha256(f"{path}\0{size}".encode("utf-8", "surrogateescape")).hexdigest()
    whole = sha256()
    with Path(where).open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            whole.update(piece)
    return whole.hexdigest()
