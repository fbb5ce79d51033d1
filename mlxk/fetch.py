"""From the Hub into a cache: every file checked against the Hub's own hash, resumable across processes, never half shown.

A file that is being fetched is ``blobs/<hash>.incomplete``, which the next process goes on with. The snapshot appears in one
step, when everything is there. Locks are those of huggingface_hub, so that both may fetch the same model at once.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from mlxk import cache, hashes
from mlxk.errors import DownloadFailed, HubUnavailable, PermissionDenied
from mlxk.files import write_whole
from mlxk.hub import Hub, Remote, RemoteFile
from mlxk.locks import still_there, try_lock

_AT_ONCE = 8  # as the client does
_TRIES = 5  # in a row, none of which brought a byte
_PAUSE_S = 0.5  # before the second of them; each later one waits twice as long
LONGEST_WAIT_S = 30  # where the Hub says when to ask again
_DEAF_S = 0.2  # CPython can miss an interrupt that comes just as the main thread begins to wait, until that wait ends
_KEPT_FREE_BYTES = 64 << 20
_INCOMPLETE = ".incomplete"
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)

Progress = Callable[[int], None]
"""Hears how many bytes have come; a negative number where some must come again."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a model at one commit needs. ``missing``: one file for each blob that is not there; ``partial_bytes`` of them are."""

    hub: Path
    name: str
    commit: str
    ref: str | None
    files: tuple[RemoteFile, ...]
    missing: tuple[RemoteFile, ...]
    partial_bytes: int
    distrust: bool

    @property
    def repository(self) -> Path:
        return Path(cache.repository(self.hub, self.name))

    @property
    def locks(self) -> Path:
        return Path(cache.locks(self.hub, self.name))

    @property
    def total_bytes(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def missing_bytes(self) -> int:
        """What has yet to come."""
        return sum(file.size for file in self.missing) - self.partial_bytes

    def blob(self, file: RemoteFile) -> Path:
        return self.repository / "blobs" / file.etag


def plan(hub: Path, name: str, remote: Remote, files: tuple[RemoteFile, ...], ref: str | None, *, distrust: bool = False) -> Plan:
    """What has to come. ``distrust`` reads the blobs that are there, and counts for missing what is not what it is called.

    Raises DownloadFailed where the Hub names something that could lie outside the cache.
    """
    _check(name, files)
    blobs = Path(cache.repository(hub, name), "blobs")
    needed = {file.etag: file for file in files}.values()
    missing = tuple(file for file in needed if not _is_there(blobs / file.etag, file, distrust=distrust))
    partial = sum(min(file.size, _size(blobs / f"{file.etag}{_INCOMPLETE}") or 0) for file in missing)
    return Plan(hub, name, remote.commit, ref, files, missing, partial, distrust)


def carry_out(plan: Plan, source: Hub, progress: Progress = lambda count: None) -> Path:
    """Fetch what is missing, show the snapshot, and return its folder. What had come stays for the next time if this fails.

    Raises DownloadFailed, AccessDenied and PermissionDenied.
    """
    with _keeping(plan), _locked(Path(cache.model_lock(plan.hub, plan.name)), fcntl.LOCK_SH):
        now = _now(plan)
        (plan.repository / "blobs").mkdir(parents=True, exist_ok=True)  # not before: an rm may be at work until the lock is ours
        _check_links(now)
        _Fetching(now, source, progress).run()
        folder = _show(now)
        _clean(now)
    return folder


def bring(plan: Plan, source: Hub, progress: Progress = lambda count: None) -> None:
    """Fetch the blobs that are missing, and show nothing: for a place of one's own, which need not be able to link."""
    with _keeping(plan):
        (plan.repository / "blobs").mkdir(parents=True, exist_ok=True)
        _Fetching(plan, source, progress).run()


@contextmanager
def _keeping(plan: Plan) -> Iterator[None]:
    """What keeps us from keeping what comes, as a sentence."""
    _check_space(plan)
    try:
        yield
    except PermissionError as error:
        raise PermissionDenied(f"{error.filename} cannot be written: {error.strerror}. Check your access to it.") from error
    except OSError as error:
        said = f"{error.filename or plan.repository}: {error.strerror}"
        raise DownloadFailed(
            f"{plan.name} could not be kept: {said}. What has come is kept, and the next time goes on with it."
        ) from error


def _now(plan: Plan) -> Plan:
    """The plan, with what was deleted since it was made counted for missing too."""
    missing = {file.etag for file in plan.missing}
    needed = {file.etag: file for file in plan.files}.values()
    return replace(plan, missing=tuple(file for file in needed if file.etag in missing or not _is_there(plan.blob(file), file)))


class _Fetching:
    """Several files at once, until all are there, one fails, or somebody interrupts."""

    def __init__(self, plan: Plan, source: Hub, progress: Progress) -> None:
        self._plan = plan
        self._source = source
        self._progress = progress
        self._waiting = deque(sorted(plan.missing, key=lambda file: -file.size))
        self._stop = threading.Event()
        self._failures: list[BaseException] = []

    def run(self) -> None:
        """The threads are daemons: one that hears nothing from the network keeps nobody from leaving."""
        threads = [threading.Thread(target=self._work, daemon=True) for _ in self._plan.missing[:_AT_ONCE]]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    thread.join(_DEAF_S)
        finally:
            self._stop.set()
        if self._failures:
            raise self._failures[0]

    def _work(self) -> None:
        with suppress(IndexError):
            while not self._stop.is_set():
                file = self._waiting.popleft()
                try:
                    self._bring(file)
                except Exception as error:  # noqa: BLE001 - what is not told here, nobody hears
                    self._failures.append(error)
                    self._stop.set()

    def _bring(self, file: RemoteFile) -> None:
        """Make the blob be there. Whoever held the lock before us may have brought it."""
        blob = self._plan.blob(file)
        incomplete = blob.with_name(f"{blob.name}{_INCOMPLETE}")
        with _locked(self._plan.locks / f"{file.etag}.lock"):
            if self._stop.is_set():
                return
            if _is_there(blob, file, distrust=self._plan.distrust):
                self._progress(file.size - min(file.size, _size(incomplete) or 0))
                return
            _adopt(blob, incomplete)
            begun = _size(incomplete) or 0
            if not self._receive(file, incomplete):
                incomplete.unlink()
                self._progress(-file.size)
                if not begun or not self._receive(file, incomplete):
                    incomplete.unlink(missing_ok=True)
                    raise DownloadFailed(
                        f"{file.path} of {self._plan.name} is not what the Hub says it is: {file.size:,} bytes came, and their "
                        f"hash is not {file.etag}. Nothing of it was kept. Try again, and look at what lies in between."
                    )
            if not self._stop.is_set():
                incomplete.replace(blob)

    def _receive(self, file: RemoteFile, incomplete: Path) -> bool:
        """Fetch into the file, going on where it ends; whether the content is what it should be, as far as it was not stopped."""
        with incomplete.open("ab+", buffering=0) as out:  # what a killed process has in its own memory is lost
            if out.tell() > file.size:
                out.truncate(0)
            taken = _Taken(out, file)
            tries = 0
            while taken.bytes < file.size and not self._stop.is_set():
                before = taken.bytes
                try:
                    self._stream(file, taken)
                    failure = HubUnavailable(
                        f"The connection for {file.path} ended after {taken.bytes:,} of {file.size:,} bytes."
                    )
                except HubUnavailable as error:
                    failure = error
                if taken.bytes < file.size:
                    tries = 0 if taken.bytes > before else tries + 1
                    self._pause(failure, tries)
            return self._stop.is_set() or taken.digest.hexdigest() == file.etag

    def _stream(self, file: RemoteFile, taken: _Taken) -> None:
        with self._source.read(self._plan.name, self._plan.commit, file, taken.bytes) as body:
            if body.start != taken.bytes:
                self._progress(-taken.bytes)
                taken.restart()
            for piece in body.pieces:
                if self._stop.is_set():
                    return
                taken.take(piece[: file.size - taken.bytes])
                self._progress(len(piece))
                if taken.bytes == file.size:
                    return

    def _pause(self, failure: HubUnavailable, tries: int) -> None:
        if tries >= _TRIES:
            raise DownloadFailed(f"{failure.message} What has come is kept; the next pull goes on with it.") from failure
        if (failure.retry_after_s or 0) > LONGEST_WAIT_S:
            raise DownloadFailed(
                f"{failure.message} It wants to be left alone for {failure.retry_after_s:,.0f} seconds. What has come is kept; "
                "the next pull goes on with it."
            ) from failure
        if tries:
            self._stop.wait(failure.retry_after_s if failure.retry_after_s is not None else _PAUSE_S * 2 ** (tries - 1))


class _Taken:
    """What has come of a file: on disk, and hashed."""

    def __init__(self, out: IO[bytes], file: RemoteFile) -> None:
        self._out = out
        self._file = file
        self.bytes = 0
        self.digest = hashes.digest(file.etag, file.size)
        out.seek(0)
        while piece := out.read(1 << 20):
            self.digest.update(piece)
            self.bytes += len(piece)

    def take(self, piece: bytes) -> None:
        rest = piece
        while rest:  # without a buffer, a file may take less than it is given
            rest = rest[self._out.write(rest) :]
        self.digest.update(piece)
        self.bytes += len(piece)

    def restart(self) -> None:
        self._out.truncate(0)
        self.bytes = 0
        self.digest = hashes.digest(self._file.etag, self._file.size)


def _check_space(plan: Plan) -> None:
    place = plan.hub
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free - _KEPT_FREE_BYTES
    if plan.missing_bytes > free:
        raise DownloadFailed(
            f"{plan.name} needs {plan.missing_bytes:,} bytes, and {max(0, free):,} are free at {place}. Nothing was downloaded."
        )


def _check_links(plan: Plan) -> None:
    """Before hours of download: the cache is made of links, and not every file system has them. Raises DownloadFailed."""
    probe = plan.repository / f"link.{os.getpid()}.new"
    try:
        probe.symlink_to("blobs")
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        raise DownloadFailed(
            f"The file system of {plan.hub} has no symbolic links, and the cache is made of them. "
            f"Let HF_HOME lead to another, or use `mlxk clone {plan.name}`, which needs none."
        ) from error
    probe.unlink()


def _show(plan: Plan) -> Path:
    """Let the snapshot appear, whole, and the branch or tag lead to it."""
    folder = plan.repository / "snapshots" / plan.commit
    with _locked(plan.locks / f"{plan.commit}.lock"):
        if folder.is_dir():
            _link(plan, folder)
        else:
            beside = plan.repository / "snapshots.new" / plan.commit  # as deep as the folder itself: the links are relative
            shutil.rmtree(beside, ignore_errors=True)
            _link(plan, beside)
            folder.parent.mkdir(exist_ok=True)
            beside.rename(folder)
            with suppress(OSError):  # another commit is being shown
                beside.parent.rmdir()
    if plan.ref is not None:
        ref = plan.repository / "refs" / plan.ref
        ref.parent.mkdir(parents=True, exist_ok=True)
        write_whole(str(ref), plan.commit.encode())
    return folder


def _link(plan: Plan, folder: Path) -> None:
    for file in plan.files:
        place = folder / file.path
        target = Path("../" * (2 + file.path.count("/")), "blobs", file.etag)
        if not place.is_symlink() or place.readlink() != target:
            place.parent.mkdir(parents=True, exist_ok=True)
            beside = place.with_name(f"{place.name}.{os.getpid()}.new")
            beside.symlink_to(target)
            beside.replace(place)


def _clean(plan: Plan) -> None:
    """Delete what downloads have left that nobody is at work on any more."""
    for left in (plan.repository / "blobs").glob(f"*{_INCOMPLETE}"):
        with suppress(_Busy), _locked(plan.locks / f"{left.name.partition('.')[0]}.lock", fcntl.LOCK_EX | fcntl.LOCK_NB):
            left.unlink(missing_ok=True)


def _adopt(blob: Path, incomplete: Path) -> None:
    """Of what earlier downloads have left of this blob keep the longest, under our own name for it. The lock must be held.

    The client gives each download a name of its own, ``<hash>.<8 hex digits>.incomplete``, and finds none of them again.
    """
    left = [path for path in blob.parent.glob(f"{blob.name}.*") if path.suffix == _INCOMPLETE]
    left.sort(key=lambda path: (_size(path) or 0, path == incomplete))
    for path in left[:-1]:
        path.unlink()
    if left:
        left[-1].replace(incomplete)


def _is_there(blob: Path, file: RemoteFile, *, distrust: bool = False) -> bool:
    if _size(blob) != file.size:
        return False
    return not distrust or hashes.of_file(str(blob), file.etag) == file.etag


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _check(name: str, files: tuple[RemoteFile, ...]) -> None:
    """What a Hub calls a file, and its hash, becomes paths of ours. Raises DownloadFailed where they cannot."""
    paths = [file.path for file in files]
    folders = {"/".join(parts[:end]) for path in paths for parts in [path.split("/")] for end in range(1, len(parts))}
    taken = Counter(paths)
    for file in files:
        if not _can_be_kept(file.path) or not hashes.is_name(file.etag) or taken[file.path] > 1 or file.path in folders:
            raise DownloadFailed(f"{name} has a file {file.path!r} that cannot be kept in a cache. Nothing was downloaded.")


def _can_be_kept(path: str) -> bool:
    """Inside the folder that it is for; and not what git would obey there."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:  # JSON may hold half a character, and neither an address nor a file system takes one
        return False
    unfit = ("", ".", "..", ".git")
    return "\\" not in path and "\0" not in path and not any(part.lower() in unfit for part in path.split("/"))


class _Busy(Exception):
    """Somebody else holds the lock."""


@contextmanager
def _locked(path: Path, how: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Hold the lock as huggingface_hub holds it. Where it was deleted meanwhile, it is no lock any more.

    Raises _Busy where ``how`` says not to wait.
    """
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if not try_lock(file, how):
                raise _Busy
            if still_there(file, path):
                yield
                return
        finally:
            os.close(file)
