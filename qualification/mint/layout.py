"""A repository's files written into the exact layout of the Hugging Face cache. File work only.

``models--org--name/blobs/<hash>`` holds the bytes, ``snapshots/<revision>/<file>`` links to them relatively, and
``refs/main`` names the revision. Blobs of large files (LFS) are named by SHA-256, those of other files by git's SHA-1.
Source: ``huggingface_hub.file_download``; on the hub, weights and ``tokenizer.json`` are LFS files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Blob:
    """One file of a repository: its name there, the name of its blob, and its size."""

    name: str
    blob: str
    size_bytes: int


def folder_name(model_id: str) -> str:
    """The cache's folder for a model: ``mint/llama-tiny`` lies in ``models--mint--llama-tiny``."""
    return f"models--{model_id.replace('/', '--')}"


def write(folder: Path, files: Iterable[tuple[str, bytes]]) -> tuple[str, tuple[Blob, ...]]:
    """Fill the new directory ``folder``; returns the revision, which follows from the content alone, and the blobs."""
    blobs = []
    (folder / "blobs").mkdir(parents=True)
    for name, content in sorted(files):
        blob = Blob(name, blob_name(name, content), len(content))
        (folder / "blobs" / blob.blob).write_bytes(content)
        blobs.append(blob)
    revision = revision_of(blobs)
    snapshot = folder / "snapshots" / revision
    snapshot.mkdir(parents=True)
    for blob in blobs:
        (snapshot / blob.name).symlink_to(Path("..", "..", "blobs", blob.blob))
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(revision, encoding="utf-8")
    return revision, tuple(blobs)


def is_whole(folder: Path, revision: str, blobs: Iterable[Blob]) -> bool:
    """Whether ``folder`` holds this revision with all its files at their full size, and ``main`` names it."""
    snapshot = folder / "snapshots" / revision
    try:
        named = (folder / "refs" / "main").read_text(encoding="utf-8")
        return named == revision and all((snapshot / blob.name).stat().st_size == blob.size_bytes for blob in blobs)
    except OSError:
        return False


def blob_name(name: str, content: bytes) -> str:
    """SHA-256 for LFS files; for others, what ``git hash-object`` says."""
    if name.endswith(".safetensors") or name == "tokenizer.json":
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0%b" % (len(content), content), usedforsecurity=False).hexdigest()


def revision_of(blobs: Iterable[Blob]) -> str:
    """40 hex digits that stand for these files with this content, as a commit hash would."""
    listing = "".join(f"{blob.blob} {blob.name}\n" for blob in sorted(blobs, key=lambda blob: blob.name))
    return hashlib.sha1(listing.encode(), usedforsecurity=False).hexdigest()
