"""From the Hub into a folder of one's own: it is there with everything in it, or is not there. The cache has no part in it.

Beside the target, ``.mlxk2_temp_<hash>`` holds what has come, so that the same command goes on with it; it is gone at the end.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from mlxk import __version__, content_hash, copying
from mlxk.errors import CloneFailed, InvalidTarget, LocksPresent, PermissionDenied
from mlxk.fetch import Plan
from mlxk.files import write_whole
from mlxk.hub import RemoteFile
from mlxk.locks import try_lock
from mlxk.workspace import SENTINEL

TEMPORARY = ".mlxk2_temp_"
_MARK = ".mlxk2_temp_cache_sentinel"


def target_of(model: str, given: str | None, home: Path | None) -> Path:
    """Where the workspace goes: as given, a bare name and no name below ``home``. Raises InvalidTarget."""
    if given is None:
        if home is None:
            raise InvalidTarget(f"Where to? Name a folder, as in `mlxk clone {model} ./mine`, or set MLXK_WORKSPACE_HOME.")
        return home / model.rpartition("/")[2]
    if home is not None and "/" not in given and given not in (".", ".."):
        return home / given
    return Path(os.path.abspath(given))  # noqa: PTH100 - as typed, links and all


def check_target(target: Path, hub: Path) -> None:
    """Raises InvalidTarget where something is there already, or nothing can be, or it is the cache's."""
    if os.path.lexists(target) and not (target.is_dir() and not target.is_symlink() and not any(target.iterdir())):
        raise InvalidTarget(f"{target} is there already, and not an empty folder. Name another, or move it away.")
    if not target.parent.is_dir():
        raise InvalidTarget(f"There is no folder {target.parent} to put it in. Make it first.")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise PermissionDenied(f"You may not write to {target.parent}. Name another folder.")
    if Path(os.path.realpath(target)).is_relative_to(os.path.realpath(hub)):
        raise InvalidTarget(f"{target} is inside the cache, where only pull and rm write. Name a folder outside {hub}.")


def temporary(model: str, target: Path) -> Path:
    """The same for the same model and target, so that what has come is found again."""
    name = hashlib.sha256(f"{model}:{target}".encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return target.parent / f"{TEMPORARY}{name}"


@contextmanager
def begun(place: Path) -> Iterator[None]:
    """The temporary folder, ours alone as long as this lasts. It goes where nothing came. Raises LocksPresent, InvalidTarget."""
    mark = place / _MARK
    while True:
        with _opened(mark) as file:
            if not try_lock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB):
                said = f"Another mlxk is at work on {place}. Wait until it has ended."
                raise LocksPresent(said, lock_files=[str(mark)])
            if not (mark.exists() and os.path.samestat(os.fstat(file.fileno()), mark.stat())):
                continue  # whoever had it has just dropped the folder
            try:
                yield
            finally:
                if not any(place.glob("models--*/blobs/*")):
                    drop(place)
            return


def _opened(mark: Path) -> IO[bytes]:
    """The mark, in a folder of ours: where others may write too, theirs could have been there first."""
    while True:
        mark.parent.mkdir(exist_ok=True)
        found = mark.parent.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise InvalidTarget(f"{mark.parent} is not a folder of yours, and what comes would go there first. Remove it.")
        with suppress(FileNotFoundError):  # somebody has just dropped it
            return mark.open("ab")


def finish(plan: Plan, target: Path) -> None:
    """Put the workspace in its place in one step, and drop the temporary folder. Raises CloneFailed."""
    place = plan.hub
    staged = place / "workspace"
    try:
        _stage(plan, staged)
        _write_sentinel(plan, staged)
        staged.rename(target)
    except OSError as error:
        said = f"{error.filename or target}: {error.strerror}"
        raise CloneFailed(f"{target} could not be made: {said}. What has come is kept; the same command goes on.") from error
    drop(place)


def drop(place: Path) -> None:
    """Delete a temporary folder, if it is one."""
    if place.name.startswith(TEMPORARY) and (place / _MARK).is_file():
        shutil.rmtree(place, ignore_errors=True)


def _stage(plan: Plan, staged: Path) -> None:
    """Every file under its name. Two of the same content are two files: whoever changes one means that one."""
    shutil.rmtree(staged, ignore_errors=True)
    placed: set[str] = set()
    for file in _published(plan):
        path = staged / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        put = copying.copy if file.etag in placed else copying.move_or_copy
        put(plan.blob(file), path)
        placed.add(file.etag)


def _published(plan: Plan) -> Iterator[RemoteFile]:
    """All but the sentinel of a workspace that somebody else has published with it: this one has its own."""
    return (file for file in plan.files if file.path != SENTINEL)


def _write_sentinel(plan: Plan, folder: Path) -> None:
    """What it is, where it came from, and what its content is pinned to. ``hub_files``: the Hub's own hash of each file."""
    document = {
        "mlxk_version": __version__,
        "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "source_repo": plan.name,
        "source_revision": plan.commit,
        "managed": True,
        "operation": "clone",
        "hub_files": {file.path: file.etag for file in _published(plan)},
    }
    write_whole(str(folder / SENTINEL), json.dumps(document, indent=1).encode("utf-8"))
    content_hash.pin(str(folder))
