"""The layout of the Hugging Face cache: which models it holds, and which snapshot a name means.

<hub>/models--org--name/refs/main             the commit that the branch stood at
<hub>/models--org--name/snapshots/<commit>/   its files, links into blobs/
<hub>/models--org--name/blobs/                the files themselves; a download in progress ends in .incomplete
<hub>/.locks/models--org--name/               what a download holds while it writes a blob

Paths are strings here, because a Path for each of a thousand models costs as much as reading them.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mlxk.errors import AmbiguousMatch, ModelNotFound, PermissionDenied, RevisionNotFound
from mlxk.files import read_part

_PREFIX = "models--"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_HASH_PREFIX = re.compile(r"[0-9a-fA-F]{4,40}")
_REVISION = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)*")
_TICK_NS = 2_000_000_000  # FAT tells times so far apart from each other, and no file system less


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One version of one model, or a workspace, which has its path for a name and is not ``cached``.

    ``commit`` is None where there is no snapshot (``folder`` is then not there), or not one named by a commit.
    """

    name: str
    folder: str
    commit: str | None
    cached: bool = True

    @property
    def path(self) -> Path:
        return Path(self.folder)


def names(hub: Path) -> list[str]:
    """The ``org/name`` of every model folder, sorted. A cache that does not exist holds none."""
    try:
        entries = os.listdir(hub)  # noqa: PTH208 - a thousand Path objects cost more than the whole listing
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise PermissionDenied(f"The cache {hub} cannot be read: {error.strerror}. Check HF_HOME and its access.") from error
    return sorted(name for entry in entries if entry.startswith(_PREFIX) and (name := entry[len(_PREFIX) :].replace("--", "/")))


def repository(hub: Path, name: str) -> str:
    """The folder of a model, whether it is there or not."""
    return f"{hub}/{_PREFIX}{name.replace('/', '--')}"


def locks(hub: Path, name: str) -> str:
    """The folder with the locks that a download of the model holds."""
    return f"{hub}/.locks/{_PREFIX}{name.replace('/', '--')}"


def model_lock(hub: Path, name: str) -> str:
    """What every pull of the model shares from its beginning to its end, and whoever deletes the model has alone."""
    return f"{locks(hub, name)}/model.lock"


def current(hub: Path, name: str) -> Snapshot:
    """The snapshot that ``refs/main`` names, else the newest one."""
    if (named := at_ref(hub, name, "main")) is not None:
        return named
    folder = repository(hub, name)
    newest = max(commits(hub, name), key=lambda commit: (_modified(f"{folder}/snapshots/{commit}"), commit), default=None)
    return _snapshot(hub, name, newest) if newest is not None else Snapshot(name, f"{folder}/snapshots/none", None)


def find(hub: Path, spec: str) -> Snapshot:
    """The snapshot that a person's ``name`` or ``name@revision`` means.

    ``org/name`` is exact. A name without a slash matches by case-insensitive substring, and must match one model only.
    """
    name, _, revision = spec.partition("@")
    name = _match(names(hub), name)
    return pinned(hub, name, revision) if revision else current(hub, name)


def exact(hub: Path, name: str) -> str:
    """The name itself, if the cache has it: what a command asks that must not guess. The error tells what was near."""
    there = names(hub)
    if name in there:
        return name
    near = [other for other in there if name and name.lower() in other.lower()]
    hint = f" Did you mean {_listed(near[:5])}? Write the name in full." if near else " `mlxk list --all` shows what is."
    raise ModelNotFound(f"No model named {name!r} is in the cache.{hint}", **({"matches": near} if near else {}))


def pinned(hub: Path, name: str, revision: str) -> Snapshot:
    """The snapshot of a branch or tag, else of a prefix of a commit."""
    if _REVISION.fullmatch(revision) and (named := at_ref(hub, name, revision)) is not None:
        return named
    there = commits(hub, name)
    wanted = revision.lower()
    matches = [commit for commit in there if commit.startswith(wanted)] if _HASH_PREFIX.fullmatch(revision) else []
    if len(matches) > 1:
        raise AmbiguousMatch(f"{revision!r} begins {len(matches)} snapshots of {name}: {_listed(matches)}.", matches=matches)
    if not matches:
        raise RevisionNotFound(
            f"{name} has no snapshot for {revision!r}. It has: {_listed(there) or 'none'}. "
            "A revision is a branch, a tag, or at least 4 hex digits of a commit.",
            available_hashes=there,
        )
    return _snapshot(hub, name, matches[0])


def is_revision(word: str) -> bool:
    """Whether a branch, a tag or a commit can be written so."""
    return _REVISION.fullmatch(word) is not None


def at_ref(hub: Path, name: str, ref: str) -> Snapshot | None:
    """The snapshot that a branch or a tag names, if it is there."""
    folder = repository(hub, name)
    commit = read_part(f"{folder}/refs/{ref}", 100).decode("ascii", "replace").strip()
    if not _COMMIT.fullmatch(commit):
        return None
    path = f"{folder}/snapshots/{commit}"
    return Snapshot(name, path, commit) if os.path.isdir(path) else None  # noqa: PTH112


def ref_version(hub: Path, name: str, ref: str) -> tuple[int, int] | None:
    """The inode of the file of a branch or a tag, and its last change in ns: one system call, where ``at_ref`` makes four.

    None where there is no file, and where it was changed so lately that a second change could bear the same time.
    """
    try:
        found = os.stat(f"{repository(hub, name)}/refs/{ref}")  # noqa: PTH116
    except (OSError, ValueError):
        return None
    return (found.st_ino, found.st_ctime_ns) if time.time_ns() - found.st_ctime_ns > _TICK_NS else None


def commits(hub: Path, name: str) -> list[str]:
    """The names of the snapshot folders, sorted."""
    place = f"{repository(hub, name)}/snapshots"
    try:
        with os.scandir(place) as entries:
            return sorted(entry.name for entry in entries if os.path.isdir(entry.path))  # noqa: PTH112
    except OSError:
        return []


def _match(candidates: list[str], wanted: str) -> str:
    if wanted in candidates:
        return wanted
    matches = [name for name in candidates if wanted and "/" not in wanted and wanted.lower() in name.lower()]
    if len(matches) > 1:
        raise AmbiguousMatch(
            f"{wanted!r} matches {len(matches)} models: {_listed(matches)}. Name one of them in full.",
            matches=matches,
        )
    if not matches:
        raise ModelNotFound(f"No model named {wanted!r} is in the cache. `mlxk list --all` shows what is.")
    return matches[0]


def _snapshot(hub: Path, name: str, folder: str) -> Snapshot:
    return Snapshot(name, f"{repository(hub, name)}/snapshots/{folder}", folder if _COMMIT.fullmatch(folder) else None)


def _modified(path: str) -> float:
    try:
        return os.stat(path).st_mtime  # noqa: PTH116
    except OSError:
        return 0.0


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)
