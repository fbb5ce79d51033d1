"""From a workspace to the Hub: what differs, told by content, and one commit that makes the branch what the workspace is."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from mlxk import hashes
from mlxk.errors import UploadFailed
from mlxk.hub import Change, Hub, RemoteFile
from mlxk.workspace import SENTINEL

IGNORED = (".git", ".DS_Store", ".hfignore", ".gitignore", ".gitattributes", "__pycache__", ".venv", "venv", "*.pyc", ".cache")
"""Never uploaded, and never deleted from the Hub: it keeps a .gitattributes of its own."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What the branch lacks, has otherwise, and has too much, by path; ``files`` is how many the workspace has."""

    added: tuple[str, ...]
    modified: tuple[str, ...]
    deleted: tuple[str, ...]
    files: int

    @property
    def is_empty(self) -> bool:
        return not (self.added or self.modified or self.deleted)

    @property
    def count(self) -> int:
        return len(self.added) + len(self.modified) + len(self.deleted)

    def summary(self) -> dict[str, int]:
        return {"added": len(self.added), "modified": len(self.modified), "deleted": len(self.deleted)}


def patterns(folder: Path) -> tuple[str, ...]:
    """What is left out: the usual, mlxk's own files, and each line of .hfignore that is not empty and no comment."""
    own = (SENTINEL, f"{SENTINEL}.*", ".mlxk2_temp_*", ".hf_cache")
    try:
        lines = (folder / ".hfignore").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    return (*IGNORED, *own, *(line.strip() for line in lines if line.strip() and not line.strip().startswith("#")))


def is_ignored(path: str, ignored: Iterable[str]) -> bool:
    """A pattern with a slash is for the whole path, one without for any part of it; one that ends in a slash is for folders."""
    parts = path.split("/")
    for pattern in ignored:
        whole = pattern.rstrip("/")
        if "/" in whole:
            places = ["/".join(parts[: end + 1]) for end in range(len(parts))]
            if any(fnmatchcase(place, whole.lstrip("/")) for place in places):
                return True
        elif any(fnmatchcase(part, whole) for part in (parts[:-1] if pattern.endswith("/") else parts)):
            return True
    return False


def local_files(folder: Path, ignored: Iterable[str]) -> dict[str, Path]:
    """What would be on the Hub, by path, links to files followed. Raises UploadFailed for links to folders or nothing."""
    return dict(sorted(_walk(folder, "", tuple(ignored))))


def compare(files: Mapping[str, Path], remote: Iterable[RemoteFile], ignored: Iterable[str]) -> Difference:
    """By content: a file is hashed as the Hub has hashed its own, and only where the sizes are the same."""
    ignored = tuple(ignored)
    there = {file.path: file for file in remote if not is_ignored(file.path, ignored)}
    added = tuple(path for path in files if path not in there)
    modified = tuple(path for path, file in files.items() if path in there and not _same(file, there[path]))
    return Difference(added, modified, tuple(sorted(there.keys() - files.keys())), len(files))


def change(files: Mapping[str, Path], difference: Difference, message: str, branch: str, parent: str) -> Change:
    put = [(path, str(files[path])) for path in (*difference.added, *difference.modified)]
    return Change(put, difference.deleted, message, branch, parent)


def carry_out(target: Hub, name: str, wanted: Change) -> tuple[str, str] | None:
    """Commit, and return the hash and the address. None where the Hub says that its branch stands as it stood."""
    made = target.commit(name, wanted)
    return made if made[0] != wanted.parent else None


def _walk(folder: Path, prefix: str, ignored: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise UploadFailed(f"{folder} cannot be listed: {error.strerror}. Nothing was uploaded.") from error
    for entry in entries:
        path = prefix + entry.name
        if is_ignored(f"{path}/x" if entry.is_dir() else path, ignored):
            continue
        if entry.is_dir():
            if entry.is_symlink():
                raise UploadFailed(
                    f"{entry.path} is a link to a folder, which is not followed. Put the folder itself there, or name the link "
                    "in .hfignore. Nothing was uploaded."
                )
            yield from _walk(Path(entry.path), f"{path}/", ignored)
        elif entry.is_file():
            yield path, Path(entry.path)
        else:
            raise UploadFailed(f"{entry.path} leads to no file. Remove it, or name it in .hfignore. Nothing was uploaded.")


def _same(file: Path, remote: RemoteFile) -> bool:
    try:
        return file.stat().st_size == remote.size and hashes.of_file(str(file), remote.etag) == remote.etag
    except OSError as error:
        raise UploadFailed(f"{file} cannot be read: {error.strerror}. Nothing was uploaded.") from error
