"""What a snapshot holds: one pass over its files, reading the small ones and the headers of the weights."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlxk.cache import Snapshot
from mlxk.files import read_part

_DOCUMENTS = (
    "config.json",
    "tokenizer_config.json",
    "model.safetensors.index.json",
    "pytorch_model.bin.index.json",
    "preprocessor_config.json",
    "processor_config.json",
)
_LFS_MARK = b"version https://git-lfs.github.com/spec/"
_LFS_MAX_BYTES = 200
_HEADER_MAX_BYTES = 100 << 20  # the limit of the safetensors library itself
_COMMON_HEADER_BYTES = 16 << 10  # read at once with its length; a longer one is read again
_README_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A document or header that is there and says nothing; ``why`` completes "it ..."."""

    why: str


@dataclass(frozen=True, slots=True)
class WeightsHeader:
    """What a safetensors file says of itself: how long it must be, and the ``format`` that its writer noted."""

    declared_bytes: int
    format: str | None


@dataclass(frozen=True, slots=True)
class Contents:
    """File names are relative to the snapshot, with forward slashes; a size of None is a link to nothing."""

    files: Mapping[str, int | None]
    size_bytes: int
    modified_s: float
    documents: Mapping[str, dict[str, Any] | Unreadable]
    headers: Mapping[str, WeightsHeader | Unreadable]
    lfs_pointers: frozenset[str]
    tokenizer_cut: bool
    readme: str

    def document(self, name: str) -> dict[str, Any]:
        """The document, or an empty one where it is missing or unreadable."""
        found = self.documents.get(name)
        return found if isinstance(found, dict) else {}


def read(snapshot: Snapshot) -> Contents:
    """Read it once. A file that vanishes or cannot be read meanwhile is reported, never raised."""
    root = f"{snapshot.path}/"
    files: dict[str, int | None] = {}
    blobs: dict[tuple[int, int], int] = {}
    for name, stat in _walk(root, ""):
        files[name] = stat.st_size if stat is not None else None
        if stat is not None:
            blobs[stat.st_dev, stat.st_ino] = stat.st_size
    small = [name for name, size in files.items() if size is not None and 0 < size < _LFS_MAX_BYTES]
    pointers = frozenset(name for name in small if _LFS_MARK in read_part(root + name, 100))
    weights = [name for name, size in files.items() if size and name.endswith(".safetensors") and name not in pointers]
    return Contents(
        files=files,
        size_bytes=sum(blobs.values()),
        modified_s=_modified_s(snapshot.path),
        documents={name: _document(root + name, files[name] or 0) for name in _DOCUMENTS if name in files},
        headers={name: _header(root + name) for name in weights},
        lfs_pointers=pointers,
        tokenizer_cut="tokenizer.json" in files and not _is_whole_object(root + "tokenizer.json", files["tokenizer.json"] or 0),
        readme=read_part(root + "README.md", _README_BYTES).decode("utf-8", "replace") if "README.md" in files else "",
    )


def _walk(root: str, prefix: str) -> Iterator[tuple[str, os.stat_result | None]]:
    try:
        entries = sorted(os.scandir(root), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, f"{prefix}{entry.name}/")
            continue
        try:
            yield prefix + entry.name, entry.stat()
        except OSError:
            yield prefix + entry.name, None


def _modified_s(path: Path) -> float:
    for place in (path, path.parent):
        try:
            return place.stat().st_mtime
        except OSError:
            continue
    return 0.0


def _document(path: str, length: int) -> dict[str, Any] | Unreadable:
    try:
        loaded = json.loads(read_part(path, length))
    except (ValueError, RecursionError):
        return Unreadable("is not valid JSON")
    return loaded if isinstance(loaded, dict) else Unreadable("is not a JSON object")


def _is_whole_object(path: str, length: int) -> bool:
    """Whether the file begins and ends as a JSON object does. A cut one does not; parsing it takes 0.1 s and more."""
    start, end = read_part(path, 64), read_part(path, 64, max(0, length - 64))
    return start.lstrip().startswith(b"{") and end.rstrip().endswith(b"}")


def _header(path: str) -> WeightsHeader | Unreadable:
    """The header of a safetensors file: 8 bytes of little-endian length, then JSON with each tensor's place after it.

    Source: https://huggingface.co/docs/safetensors/index#format
    """
    start = read_part(path, 8 + _COMMON_HEADER_BYTES)
    length = int.from_bytes(start[:8], "little")
    if length > _HEADER_MAX_BYTES:
        return Unreadable("is not a safetensors file")
    raw = start[8 : 8 + length] if length <= _COMMON_HEADER_BYTES else read_part(path, length, 8)
    if len(raw) < length:
        return Unreadable("ends inside its header")
    try:
        header: dict[str, Any] = json.loads(raw)
        metadata = header.pop("__metadata__", {})
        ends = [tensor["data_offsets"][1] for tensor in header.values()]
        return WeightsHeader(8 + length + max(ends, default=0), metadata.get("format"))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return Unreadable("has a header that is not valid")
