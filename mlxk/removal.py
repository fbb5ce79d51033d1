"""Taking a model, or one snapshot of it, out of the cache: that and nothing else, and never under a running download."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlxk import cache
from mlxk.cache import Snapshot
from mlxk.errors import CacheNotFound, DeletionFailed, LocksPresent, PermissionDenied
from mlxk.files import read_part


@dataclass(frozen=True, slots=True)
class Removal:
    """What would go. ``snapshot`` is None where the whole model does; ``blobs`` are those that nothing else uses."""

    name: str
    repository: Path
    snapshot: Path | None
    commit: str | None
    blobs: tuple[Path, ...]
    refs: tuple[Path, ...]
    freed_bytes: int
    lock_files: tuple[Path, ...]


def plan(hub: Path, spec: str) -> Removal:
    """What ``name`` or ``name@revision`` takes away. The name must be the full one. Raises NotFound."""
    if not hub.is_dir():
        raise CacheNotFound(f"There is no cache at {hub}. Check HF_HOME.")
    name, _, revision = spec.partition("@")
    name = cache.exact(hub, name)
    repository = Path(cache.repository(hub, name))
    locks = tuple(sorted(Path(cache.locks(hub, name)).glob("*.lock")))
    if not revision:
        return Removal(name, repository, None, None, (), (), _bytes_below(repository), locks)
    pinned = cache.pinned(hub, name, revision)
    if len(cache.commits(hub, name)) == 1:
        return Removal(name, repository, None, pinned.commit, (), (), _bytes_below(repository), locks)
    return _of_snapshot(hub, name, repository, pinned, locks)


def carry_out(removal: Removal) -> int:
    """Delete it, and return how many lock files went with it. Raises LocksPresent, PermissionDenied or DeletionFailed.

    A snapshot's blobs go before its links: if this is cut short, the same command finds them again.
    """
    with ExitStack() as held:
        for lock in removal.lock_files:
            held.enter_context(_holding(lock))
        try:
            if removal.snapshot is None:
                _delete_tree(removal.repository)
                return _delete_locks(removal.lock_files)
            for blob in removal.blobs:
                blob.unlink(missing_ok=True)
            _delete_tree(removal.snapshot)
            for ref in removal.refs:
                ref.unlink(missing_ok=True)
        except PermissionError as error:
            raise PermissionDenied(
                f"{error.filename} may not be deleted: {error.strerror}. What went before it is gone."
            ) from error
        except OSError as error:
            raise DeletionFailed(f"{error.filename} could not be deleted: {error.strerror}. Try again.") from error
    return 0


def _of_snapshot(hub: Path, name: str, repository: Path, pinned: Snapshot, locks: tuple[Path, ...]) -> Removal:
    others = (repository / "snapshots" / folder for folder in cache.commits(hub, name))
    shared = {blob for other in others if other != pinned.path for blob in _blobs(repository, other)}
    mine = tuple(sorted(_blobs(repository, pinned.path) - shared))
    refs = tuple(sorted(ref for ref in _files(repository / "refs") if _content(ref) == pinned.path.name))
    freed = sum(blob.stat().st_size for blob in mine) + sum(
        file.stat().st_size for file in _files(pinned.path) if not file.is_symlink()
    )
    return Removal(name, repository, pinned.path, pinned.commit, mine, refs, freed, locks)


def _blobs(repository: Path, snapshot: Path) -> set[Path]:
    """The blobs that a snapshot links to. A link to anywhere else is only a link."""
    targets = {Path(os.path.realpath(file)) for file in _files(snapshot) if file.is_symlink()}
    home = Path(os.path.realpath(repository / "blobs"))
    return {target for target in targets if target.parent == home and target.is_file()}


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        yield from (Path(place, name) for name in files)
        yield from (Path(place, name) for name in folders if Path(place, name).is_symlink())


def _bytes_below(folder: Path) -> int:
    return 0 if folder.is_symlink() else sum(file.lstat().st_size for file in _files(folder) if not file.is_symlink())


def _content(ref: Path) -> str:
    return read_part(str(ref), 100).decode("ascii", "replace").strip()


def _delete_tree(folder: Path) -> None:
    """A link to a folder elsewhere is only a link."""
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder)


def _delete_locks(locks: tuple[Path, ...]) -> int:
    for lock in locks:
        lock.unlink(missing_ok=True)
    if locks and not any(locks[0].parent.iterdir()):
        locks[0].parent.rmdir()
    return len(locks)


@contextmanager
def _holding(lock: Path) -> Iterator[None]:
    """Hold it as a download does, so that none starts meanwhile. Raises LocksPresent where one is under way."""
    try:
        file = os.open(lock, os.O_RDWR)
    except FileNotFoundError:
        yield
        return
    except OSError as error:
        raise PermissionDenied(f"The lock {lock} cannot be opened: {error.strerror}. Nothing was deleted.") from error
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            said = f"A download holds {lock}. Nothing was deleted; try again when it has ended."
            raise LocksPresent(said, lock_files=[str(lock)]) from error
        yield
    finally:
        os.close(file)
