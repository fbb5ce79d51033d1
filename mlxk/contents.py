"""What a snapshot holds: one pass over its files, reading the small ones and the headers of the weights."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from stat import S_ISDIR, S_ISREG
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
    "image_processor_config.json",
)
WEIGHTS = (".safetensors", ".bin", ".gguf", ".npz")
_DOCUMENT_MAX_BYTES = 64 << 20  # an index of a hundred thousand tensors is a tenth of it
_LFS_MARK = b"version https://git-lfs.github.com/spec/"
_LFS_MIN_BYTES, _LFS_MAX_BYTES = 125, 200  # its three lines: version, oid of 64 hex digits, size; 126 bytes and more
_HEADER_MAX_BYTES = 100 << 20  # the limit of the safetensors library itself
_COMMON_HEADER_BYTES = 4 << 10  # a page, read at once with its length; a longer one is read again
_README_BYTES = 64 << 10
_decode = json.JSONDecoder().decode  # json.loads, without its questions about what it was given


# eq=False, here and in the other modules that every start reads: writing a comparison costs 2 ms per class, and nobody compares.
@dataclass(frozen=True, slots=True, eq=False)
class Unreadable:
    """A document or header that is there and says nothing; ``why`` completes "it ..."."""

    why: str


@dataclass(frozen=True, slots=True, eq=False)
class WeightsHeader:
    """What a safetensors file says of itself: how long it must be, and the ``format`` that its writer noted."""

    declared_bytes: int | None
    format: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """File names are relative to the snapshot, with forward slashes; a size of None is a link to nothing, or no file.

    ``readme`` is empty where the weights say themselves that MLX wrote them. ``unreadable``: folders that cannot be listed.
    """

    files: Mapping[str, int | None]
    weights: tuple[str, ...]
    size_bytes: int
    modified_s: float
    documents: Mapping[str, dict[str, Any] | Unreadable]
    headers: Mapping[str, WeightsHeader | Unreadable]
    written_by_mlx: bool
    lfs_pointers: frozenset[str]
    tokenizer_cut: bool
    readme: str
    unreadable: tuple[str, ...]

    def document(self, name: str) -> dict[str, Any]:
        """The document, or an empty one where it is missing or unreadable."""
        found = self.documents.get(name)
        return found if isinstance(found, dict) else {}


def read(snapshot: Snapshot) -> Contents:
    """Read it once. A file that vanishes or cannot be read meanwhile is reported, never raised."""
    root = f"{snapshot.folder}/"
    files, blobs, unreadable = _walk(root)
    small = [name for name, size in files.items() if size is not None and _LFS_MIN_BYTES < size < _LFS_MAX_BYTES]
    pointers = frozenset(name for name in small if _LFS_MARK in read_part(root + name, 100))
    weights = weight_files(files)
    judged = [name for name in weights if files[name] and name.endswith((".safetensors", ".gguf")) and name not in pointers]
    headers = {name: _header(root + name) for name in judged}
    written_by_mlx = any(isinstance(header, WeightsHeader) and header.format == "mlx" for header in headers.values())
    return Contents(
        files=files,
        weights=weights,
        size_bytes=sum(blobs.values()),
        modified_s=_modified_s(snapshot.folder),
        documents={name: _document(root + name, size) for name in _DOCUMENTS if (size := files.get(name)) is not None},
        headers=headers,
        written_by_mlx=written_by_mlx,
        lfs_pointers=pointers,
        tokenizer_cut="tokenizer.json" in files and not _ends_as_object(root + "tokenizer.json", files["tokenizer.json"] or 0),
        readme="" if written_by_mlx else read_part(root + "README.md", _README_BYTES).decode("utf-8", "replace"),
        unreadable=unreadable,
    )


def weight_files(files: Iterable[str]) -> tuple[str, ...]:
    """The weights at the top; only where there are none there, those further down."""
    found = [name for name in files if name.endswith(WEIGHTS)]
    return tuple([name for name in found if "/" not in name] or found)


def _walk(root: str) -> tuple[dict[str, int | None], dict[tuple[int, int], int], tuple[str, ...]]:
    """Sizes by file name, sizes by inode (each blob once), and the folders that cannot be listed.

    Folders whose name begins with a dot (.git, .cache) are no part of a model; links to folders are not followed.
    """
    files: dict[str, int | None] = {}
    blobs: dict[tuple[int, int], int] = {}
    unreadable: list[str] = []
    folders = [""]
    while folders:
        prefix = folders.pop()
        try:
            entries = sorted(os.scandir(root + prefix), key=_name)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            unreadable.append(prefix.rstrip("/") or ".")
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if not entry.name.startswith("."):
                    folders.append(f"{prefix}{entry.name}/")
                continue
            try:
                stat = entry.stat()
            except OSError:
                files[prefix + entry.name] = None
                continue
            if S_ISREG(stat.st_mode):
                files[prefix + entry.name] = stat.st_size
                blobs[stat.st_dev, stat.st_ino] = stat.st_size
            elif not S_ISDIR(stat.st_mode):
                files[prefix + entry.name] = None
    return files, blobs, tuple(unreadable)


_name = attrgetter("name")


def _modified_s(folder: str) -> float:
    for place in (folder, os.path.dirname(folder)):  # noqa: PTH120 - strings, see mlxk.cache
        try:
            return os.stat(place).st_mtime  # noqa: PTH116
        except OSError:
            continue
    return 0.0


def unfinished(snapshot: Snapshot) -> tuple[str, ...]:
    """The blobs of this model that a download has begun and not finished, whichever snapshot they are for."""
    try:
        blobs = os.listdir(f"{snapshot.folder.partition('/snapshots')[0]}/blobs")  # noqa: PTH208
    except OSError:
        return ()
    return tuple(f"blobs/{name}" for name in blobs if name.endswith(".incomplete"))


def _document(path: str, length: int) -> dict[str, Any] | Unreadable:
    if length > _DOCUMENT_MAX_BYTES:
        return Unreadable(f"has {length:,} bytes, more than any configuration needs")
    raw = read_part(path, length)
    if len(raw) < length:
        return Unreadable("cannot be read")
    try:
        loaded = _decode(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        return Unreadable("is not valid JSON")
    return loaded if isinstance(loaded, dict) else Unreadable("is not a JSON object")


def _ends_as_object(path: str, length: int) -> bool:
    """Whether the file ends as a JSON object does. A cut one does not; parsing a tokenizer takes 0.1 s and more."""
    return read_part(path, 64, max(0, length - 64)).rstrip().endswith(b"}")


def _header(path: str) -> WeightsHeader | Unreadable:
    """The header of a safetensors file: 8 bytes of little-endian length, then JSON with each tensor's place after it.

    A GGUF file does not declare its length in one place; it begins with its name.
    Source: https://huggingface.co/docs/safetensors/index#format
    """
    if path.endswith(".gguf"):
        return WeightsHeader(None, None) if read_part(path, 4) == b"GGUF" else Unreadable("is not a GGUF file")
    start = read_part(path, 8 + _COMMON_HEADER_BYTES)
    length = int.from_bytes(start[:8], "little")
    if length > _HEADER_MAX_BYTES:
        return Unreadable("is not a safetensors file")
    raw = start[8 : 8 + length] if length <= _COMMON_HEADER_BYTES else read_part(path, length, 8)
    if len(raw) < length:
        return Unreadable("ends inside its header")
    try:
        header: dict[str, Any] = _decode(raw.decode("utf-8"))
        metadata = header.pop("__metadata__", {})
        ends = [tensor["data_offsets"][1] for tensor in header.values()]
        return WeightsHeader(8 + length + max(ends, default=0), metadata.get("format"))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return Unreadable("has a header that is not valid")
