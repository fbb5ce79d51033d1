"""The store of minted models: made once per recipe and version of mlx, then copied to where a test wants them.

A model is in the store whole or not at all. It is built beside its place, verified there, and moved in with one
rename; a maker that is killed leaves only a ``.part`` directory, which the next one removes. Each model has a lock, so that
two processes can make two of them, and the kernel frees it with the process that held it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import logging
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TextIO

from qualification import settings
from qualification.errors import MintError
from qualification.mint import catalog, layout, making
from qualification.mint.layout import Blob
from qualification.mint.making import Progress
from qualification.mint.recipe import Recipe

LOCK_TIMEOUT_S = 600.0
"""How long to wait for another process that mints: far longer than minting everything takes."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Minted:
    """A model in the store: where it lies, what it is made of, and what its making took."""

    model_id: str
    folder: Path
    """The directory ``models--org--name``, complete with blobs, refs and snapshots."""
    revision: str
    blobs: tuple[Blob, ...]
    parameters: int
    margin: float
    steps: int
    seconds: float

    @property
    def snapshot(self) -> Path:
        """The directory with the model's files, as ``mlx_lm.load`` takes it."""
        return self.folder / "snapshots" / self.revision

    @property
    def size_bytes(self) -> int:
        """Size of all files, each blob counted once."""
        return sum({blob.blob: blob.size_bytes for blob in self.blobs}.values())


def key(recipe: Recipe, mlx_version: str) -> str:
    """What a minted model depends on, as 64 hex digits."""
    return hashlib.sha256(f"{recipe.digest()} mlx {mlx_version}".encode()).hexdigest()


def ensure(model_ids: Iterable[str], root: Path | None = None, progress: Progress | None = None) -> tuple[Minted, ...]:
    """The models, in the order asked for; what is missing is minted. ``root`` defaults to the user's store."""
    return tuple(ensure_recipe(catalog.recipe(model_id), root, progress) for model_id in model_ids)


def ensure_recipe(recipe: Recipe, root: Path | None = None, progress: Progress | None = None) -> Minted:
    """One model by its recipe, minted if the store does not hold it; a second process waits for the first and reuses.

    Raises ``MintError`` if the model does not keep its recipe's promises; nothing is published then.
    """
    store = settings.mint_root() if root is None else root
    if (found := find(recipe, store)) is not None:
        return found
    with _locked(lock(recipe, store)):
        if (found := find(recipe, store)) is not None:
            return found
        _sweep(store, f"{_entry(recipe, store).name}.part")
        return _mint(recipe, store, progress)


def lock(recipe: Recipe, root: Path) -> Path:
    """The directory whose ``mint.lock`` is held by whoever makes this model."""
    return root / ".locks" / _entry(recipe, root).name


def find(recipe: Recipe, root: Path | None = None) -> Minted | None:
    """The model as the store holds it, or None if it is missing or damaged. Imports no ML library."""
    entry = _entry(recipe, settings.mint_root() if root is None else root)
    try:
        record = json.loads((entry / "minted.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    blobs = tuple(Blob(**blob) for blob in record.pop("blobs"))
    minted = Minted(folder=entry / layout.folder_name(recipe.model_id), blobs=blobs, **record)
    return minted if layout.is_whole(minted.folder, minted.revision, blobs) else None


def install(model_id: str, hf_home: Path, root: Path | None = None, progress: Progress | None = None) -> Path:
    """Copy a model, minted if need be, to ``<hf_home>/hub``; returns its snapshot there.

    It appears whole or not at all. An older mint of the same name gives way; anything else in the cache is untouched.
    """
    minted = ensure_recipe(catalog.recipe(model_id), root, progress)
    hub = hf_home / "hub"
    target = hub / minted.folder.name
    # The cache's own place for locks: scans skip it, and it is on the file system of the target.
    workspace = hub / ".locks" / minted.folder.name
    with _locked(workspace):
        _sweep(workspace)
        if not layout.is_whole(target, minted.revision, minted.blobs):
            fresh, stale = workspace / "install.part", workspace / "replaced.part"
            shutil.copytree(minted.folder, fresh, symlinks=True)
            if target.exists():
                target.replace(stale)
            fresh.replace(target)
            _sweep(workspace)
    return target / "snapshots" / minted.revision


def _mint(recipe: Recipe, store: Path, progress: Progress | None) -> Minted:
    """Make, write, verify, publish; the caller holds the model's lock."""
    began = time.monotonic()
    entry = _entry(recipe, store)
    part = entry.with_name(f"{entry.name}.part")
    workspace = part / "workspace"
    try:
        workspace.mkdir(parents=True)
        made = making.make(recipe, workspace, progress)
        folder = part / layout.folder_name(recipe.model_id)
        revision, blobs = layout.write(folder, made.files)
        margin = made.verify(folder / "snapshots" / revision)
        shutil.rmtree(workspace)
        minted = Minted(
            model_id=recipe.model_id,
            folder=entry / folder.name,
            revision=revision,
            blobs=blobs,
            parameters=recipe.parameters,
            margin=round(margin, 2),
            steps=made.steps,
            seconds=round(time.monotonic() - began, 1),
        )
        _write_record(part, minted)
        shutil.rmtree(entry, ignore_errors=True)
        part.replace(entry)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return minted


def _write_record(part: Path, minted: Minted) -> None:
    record = {name: value for name, value in dataclasses.asdict(minted).items() if name != "folder"}
    (part / "minted.json").write_text(f"{json.dumps(record, indent=2)}\n", encoding="utf-8")


def _entry(recipe: Recipe, store: Path) -> Path:
    short = recipe.model_id.rpartition("/")[2]
    return store / f"{short}-{key(recipe, _mlx_version())[:16]}"


def _mlx_version() -> str:
    try:
        return metadata.version("mlx")
    except metadata.PackageNotFoundError:
        raise MintError("Models are minted with mlx, which is not installed here; install this project.") from None


def _sweep(directory: Path, pattern: str = "*.part") -> None:
    """Remove what a killed process left; under the lock that covers them, every ``.part`` is one of those."""
    for leftover in directory.glob(pattern):
        shutil.rmtree(leftover)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold the lock of ``directory``, which is created; the kernel frees it when the process ends, however it ends."""
    directory.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    with (directory / "mint.lock").open("a", encoding="utf-8") as lock:
        if not _taken(lock):
            log.warning("Waiting for another process that mints %s.", directory.name)
        while not _taken(lock):
            if time.monotonic() > deadline:
                raise MintError(f"Another process has held {lock.name} for {LOCK_TIMEOUT_S:.0f} s; end it and try again.")
            time.sleep(0.05)
        yield


def _taken(lock: TextIO) -> bool:
    """Whether this process holds the lock, now or since an earlier call."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
