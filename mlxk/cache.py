"""The layout of the Hugging Face cache: which models it holds, and which snapshot a name means.

<hub>/models--org--name/refs/main             the commit that the branch stood at
<hub>/models--org--name/snapshots/<commit>/   its files, links into blobs/
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from mlxk.errors import AmbiguousMatch, ModelNotFound, RevisionNotFound
from mlxk.files import read_part

_PREFIX = "models--"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_HASH_PREFIX = re.compile(r"[0-9a-fA-F]{4,40}")
_REVISION = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)*")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One version of one model. ``commit`` is None where there is no snapshot, or not one named by a commit."""

    name: str
    path: Path
    commit: str | None


def names(hub: Path) -> list[str]:
    """The ``org/name`` of every model folder, sorted. A cache that does not exist holds none."""
    try:
        entries = os.listdir(hub)  # noqa: PTH208 - a thousand Path objects cost more than the whole listing
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(entry[len(_PREFIX) :].replace("--", "/") for entry in entries if entry.startswith(_PREFIX))


def current(hub: Path, name: str) -> Snapshot:
    """The snapshot that ``refs/main`` names, else the newest one."""
    if (named := _at_ref(hub, name, "main")) is not None:
        return named
    newest = max(_snapshots(hub, name), key=lambda path: (path.stat().st_mtime, path.name), default=None)
    return _snapshot(name, newest) if newest is not None else Snapshot(name, _folder(hub, name) / "snapshots", None)


def find(hub: Path, spec: str) -> Snapshot:
    """The snapshot that a person's ``name`` or ``name@revision`` means.

    ``org/name`` is exact. A name without a slash matches by case-insensitive substring, and must match one model only.
    """
    name, _, revision = spec.partition("@")
    name = _match(names(hub), name)
    return _pinned(hub, name, revision) if revision else current(hub, name)


def _match(candidates: list[str], wanted: str) -> str:
    if "/" in wanted:
        matches = [name for name in candidates if name == wanted]
    else:
        matches = [name for name in candidates if wanted and wanted.lower() in name.lower()]
    if len(matches) > 1:
        raise AmbiguousMatch(
            f"{wanted!r} matches {len(matches)} models: {', '.join(matches)}. Name one of them in full.",
            matches=matches,
        )
    if not matches:
        raise ModelNotFound(f"No model named {wanted!r} is in the cache. `mlxk list --all` shows what is.")
    return matches[0]


def _pinned(hub: Path, name: str, revision: str) -> Snapshot:
    """A branch or tag first, then a prefix of a commit."""
    if _REVISION.fullmatch(revision) and (named := _at_ref(hub, name, revision)) is not None:
        return named
    snapshots = _snapshots(hub, name)
    hashes = [path.name for path in snapshots]
    matches: list[Path] = []
    if _HASH_PREFIX.fullmatch(revision):
        matches = [path for path in snapshots if path.name.startswith(revision.lower())]
    if len(matches) > 1:
        found = [path.name for path in matches]
        raise AmbiguousMatch(f"{revision!r} begins {len(found)} snapshots of {name}: {', '.join(found)}.", matches=found)
    if not matches:
        raise RevisionNotFound(
            f"{name} has no snapshot for {revision!r}. It has: {', '.join(hashes) or 'none'}. "
            "A revision is a branch, a tag, or at least 4 hex digits of a commit.",
            available_hashes=hashes,
        )
    return _snapshot(name, matches[0])


def _at_ref(hub: Path, name: str, ref: str) -> Snapshot | None:
    """The snapshot that a branch or a tag names, if it is there."""
    folder = _folder(hub, name)
    commit = read_part(f"{folder}/refs/{ref}", 100).decode("ascii", "replace").strip()
    if not _COMMIT.fullmatch(commit):
        return None
    path = Path(f"{folder}/snapshots/{commit}")
    return Snapshot(name, path, commit) if path.is_dir() else None


def _folder(hub: Path, name: str) -> Path:
    return Path(f"{hub}/{_PREFIX}{name.replace('/', '--')}")


def _snapshots(hub: Path, name: str) -> list[Path]:
    try:
        return sorted(path for path in (_folder(hub, name) / "snapshots").iterdir() if path.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _snapshot(name: str, path: Path) -> Snapshot:
    return Snapshot(name, path, path.name if _COMMIT.fullmatch(path.name) else None)
