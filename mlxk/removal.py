"""Taking a model, or one snapshot of it, out of the cache: that and nothing else, and never under a running download."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from mlxk import cache, shared_blobs
from mlxk.cache import Snapshot
from mlxk.errors import CacheNotFound, DeletionFailed, LocksPresent, PermissionDenied
from mlxk.files import read_part
from mlxk.locks import still_there, try_lock


@dataclass(frozen=True, slots=True)
class Removal:
    """What would go. ``snapshot`` is None where the whole model does; ``blobs`` are those that nothing else uses.

    ``shared`` is what of the client's shared store they alone lead to.
    """

    hub: Path
    name: str
    repository: Path
    snapshot: Path | None
    commit: str | None
    blobs: tuple[Path, ...]
    shared: tuple[Path, ...]
    refs: tuple[Path, ...]
    freed_bytes: int
    lock_files: tuple[Path, ...]

    @property
    def spec(self) -> str:
        """What names the same again, a branch's commit rather than the branch, which may have moved on."""
        return f"{self.name}@{self.commit}" if self.commit is not None else self.name

    @property
    def locks_cleaned(self) -> int:
        """How many lock files go with it."""
        return len(self.lock_files) if self.snapshot is None else 0


def plan(hub: Path, spec: str) -> Removal:
    """What ``name`` or ``name@revision`` takes away. The name must be the full one. Raises NotFound."""
    if not hub.is_dir():
        raise CacheNotFound(f"There is no cache at {hub}. Check HF_HOME.")
    name, _, revision = spec.partition("@")
    name = cache.exact(hub, name)
    repository = Path(cache.repository(hub, name))
    locks = tuple(sorted(Path(cache.locks(hub, name)).glob("*.lock")))
    pinned = cache.pinned(hub, name, revision) if revision else None
    if pinned is not None and len(cache.commits(hub, name)) > 1:
        return _of_snapshot(hub, name, repository, pinned, locks)
    shared = () if repository.is_symlink() else shared_blobs.needed_only_by(hub, (repository / "blobs").glob("*"))
    freed = _bytes_below(repository) + _size(shared)
    return Removal(hub, name, repository, None, pinned.commit if pinned else None, (), shared, (), freed, locks)


def carry_out(planned: Removal) -> Removal:
    """Delete what is there of it now, and return that. Raises NotFound, LocksPresent, PermissionDenied or DeletionFailed.

    Between the plan and a person's answer anything may have come, so what goes is planned anew under the locks. What is linked
    to goes before its links: if this is cut short, the same command finds it again.
    """
    with ExitStack() as held:
        lock, was_there = held.enter_context(_alone(planned))
        removal, taken = plan(planned.hub, planned.spec), {lock}
        while new := [lock for lock in _locks(removal) if lock not in taken]:
            for another in new:
                held.enter_context(_holding(another))
            taken.update(new)
            removal = plan(planned.hub, planned.spec)
        try:
            _delete(removal)
        except PermissionError as error:
            raise PermissionDenied(
                f"{error.filename} may not be deleted: {error.strerror}. What went before it is gone."
            ) from error
        except OSError as error:
            raise DeletionFailed(f"{error.filename} could not be deleted: {error.strerror}. Try again.") from error
    return removal if was_there else replace(removal, lock_files=tuple(each for each in removal.lock_files if each != lock))


def _locks(removal: Removal) -> tuple[Path, ...]:
    return (*removal.lock_files, *shared_blobs.locks(removal.shared))


def _delete(removal: Removal) -> None:
    shared_blobs.delete(removal.shared)
    if removal.snapshot is None:
        _delete_tree(removal.repository)
        _delete_locks(removal.lock_files)
        return
    for blob in removal.blobs:
        blob.unlink(missing_ok=True)
    _delete_tree(removal.snapshot)
    for ref in removal.refs:
        ref.unlink(missing_ok=True)


def _of_snapshot(hub: Path, name: str, repository: Path, pinned: Snapshot, locks: tuple[Path, ...]) -> Removal:
    others = (repository / "snapshots" / folder for folder in cache.commits(hub, name))
    shared = {blob for other in others if other != pinned.path for blob in _blobs(repository, other)}
    mine = tuple(sorted(_blobs(repository, pinned.path) - shared))
    refs = tuple(sorted(ref for ref in _files(repository / "refs") if _content(ref) == pinned.path.name))
    freed_from_store = shared_blobs.needed_only_by(hub, mine)
    freed = _size([*mine, *_files(pinned.path), *freed_from_store])
    return Removal(hub, name, repository, pinned.path, pinned.commit, mine, freed_from_store, refs, freed, locks)


def _blobs(repository: Path, snapshot: Path) -> set[Path]:
    """The blobs that a snapshot links to, which may be links themselves. A link to anywhere else is only a link."""
    targets = [file.parent / file.readlink() for file in _files(snapshot) if file.is_symlink()]
    home = Path(os.path.realpath(repository / "blobs"))
    return {home / target.name for target in targets if Path(os.path.realpath(target.parent)) == home and target.is_file()}


def _size(files: Iterable[Path]) -> int:
    """Of what is kept in them: a link keeps nothing."""
    return sum(_bytes_of(file) for file in files)


def _bytes_of(file: Path) -> int:
    try:
        found = file.lstat()
    except FileNotFoundError:  # a download that is under way has given it another name since
        return 0
    return 0 if stat.S_ISLNK(found.st_mode) else found.st_size


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        yield from (Path(place, name) for name in files)
        yield from (Path(place, name) for name in folders if Path(place, name).is_symlink())


def _bytes_below(folder: Path) -> int:
    return 0 if folder.is_symlink() else _size(_files(folder))


def _content(ref: Path) -> str:
    return read_part(str(ref), 100).decode("ascii", "replace").strip()


def _delete_tree(folder: Path) -> None:
    """A link to a folder elsewhere is only a link."""
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder)


def _delete_locks(locks: tuple[Path, ...]) -> None:
    for lock in locks:
        lock.unlink(missing_ok=True)
        with suppress(OSError):  # others are there, or it is gone
            lock.parent.rmdir()


@contextmanager
def _alone(removal: Removal) -> Iterator[tuple[Path, bool]]:
    """Hold the lock of the model, so that no pull of mlxk begins meanwhile, not even one that has taken no other lock yet.

    Which that is, and whether a pull has left it there; else it is made for this time only.
    """
    lock = Path(cache.model_lock(removal.hub, removal.name))
    was_there = lock.exists()
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
    except OSError as error:
        raise PermissionDenied(f"The lock {lock} cannot be made: {error.strerror}. Nothing was deleted.") from error
    with _holding(lock, made=True):
        try:
            yield lock, was_there
        finally:
            if not was_there:
                _delete_locks((lock,))


@contextmanager
def _holding(lock: Path, *, made: bool = False) -> Iterator[None]:
    """Hold it as a download does, so that none starts meanwhile. Raises LocksPresent where one is under way.

    One that is gone is a download that has ended, unless it is to be ``made`` again: another removal deleted it.
    """
    while True:
        try:
            file = os.open(lock, os.O_RDWR | (os.O_CREAT if made else 0), 0o644)
        except FileNotFoundError:
            if not made:
                yield
                return
            lock.parent.mkdir(parents=True, exist_ok=True)
            continue
        except OSError as error:
            raise PermissionDenied(f"The lock {lock} cannot be opened: {error.strerror}. Nothing was deleted.") from error
        try:
            if not try_lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB):
                said = f"A download holds {lock}. Nothing was deleted; try again when it has ended."
                raise LocksPresent(said, lock_files=[str(lock)])
            if still_there(file, lock) or not made:
                yield
                return
        finally:
            os.close(file)
