"""A hub cache of a test's own: made with a sentinel and a signature, and deleted only where both are still true."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from qualification import settings
from qualification.errors import QualificationError
from qualification.plugin import guard
from qualification.plugin.context import CELL
from qualification.plugin.copying import How, copy_tree
from qualification.plugin.guard import SENTINEL

MARKER = "mlxk2_test_"
SIGNATURE = ".mlxk2_test_cache_signature"
MAGIC = "MLXK2_ISOLATED_TEST_CACHE_V1"
_VOLUME_FOLDER = ".mlxk2_test_isolation"
_WEIGHTS = frozenset({".safetensors", ".bin", ".gguf", ".npz"})
_FETCH_LIMIT_S = 600
_FETCH = """
import glob, sys
from huggingface_hub import HfApi, snapshot_download
name, count, weights = sys.argv[1], int(sys.argv[2]), tuple(sys.argv[3].split())
files = sorted((file.size, file.rfilename) for file in HfApi().model_info(name, files_metadata=True).siblings)
small = [path for _, path in files if path.endswith((".json", ".txt", ".model", ".jinja"))]
shards = [path for _, path in files if path.endswith(weights)][:count]
snapshot_download(name, allow_patterns=[glob.escape(path) for path in small + shards])
"""
_SENTINEL_CONFIG = '{"model_type": "test_sentinel", "test_cache": true}'
_SENTINEL_COMMIT = "test" * 10

Context = Literal["test", "user"]


class IsolationError(QualificationError):
    """A cache is not what a test takes it for; nothing was deleted."""


@dataclass(frozen=True, slots=True)
class IsolatedCache:
    """``root`` is the temporary folder, which holds the signature and, as ``test_cache``, the Hugging Face home."""

    root: Path
    signature_id: str

    @property
    def home(self) -> Path:
        return self.root / "test_cache"

    @property
    def hub(self) -> Path:
        return self.home / "hub"

    def environment(self) -> dict[str, str]:
        """This process's variables, with nothing that leads to another cache."""
        kept = {name: value for name, value in settings.whole().items() if name not in _LEADING_ELSEWHERE}
        return {**kept, "HF_HOME": str(self.home)}

    def copy_model(self, folder: Path, name: str | None = None) -> tuple[Path, How]:
        """Copy a model's whole folder (``models--org--name``) into this cache, on write where the file system can.

        ``name`` renames it. Raises IsolationError where less than ``MLXK2_MIN_FREE_MB`` (512) would stay free.
        """
        return self._copy(folder, name, set(folder.rglob("*")))

    def copy_subset(self, folder: Path, name: str | None = None) -> tuple[Path, How]:
        """The same with a part of the current snapshot only, which its health is told from as from all of it.

        Everything but weights, indexes included, and of the weights the ``MLXK2_SUBSET_COUNT`` (1) smallest.
        """
        snapshot = _current_snapshot(folder)
        files = [path for path in snapshot.rglob("*") if path.is_file()]
        weights = sorted((path for path in files if path.suffix in _WEIGHTS), key=lambda path: (path.stat().st_size, path.name))
        kept = {*files} - {*weights[_whole_number("MLXK2_SUBSET_COUNT", 1) :]}
        inside = kept | {path.resolve() for path in kept if path.is_symlink()} | {*(folder / "refs").rglob("*")}
        return self._copy(folder, name, inside | {parent for path in inside for parent in path.parents})

    def _copy(self, folder: Path, name: str | None, wanted: Set[Path]) -> tuple[Path, How]:
        target = self.hub / (folder.name if name is None else f"models--{name.replace('/', '--')}")
        needed = sum(
            path.lstat().st_size for path in wanted if folder in path.parents and path.is_file() and not path.is_symlink()
        )
        free = shutil.disk_usage(self.hub).free
        if free - needed < _whole_number("MLXK2_MIN_FREE_MB", 512) << 20:
            raise IsolationError(f"{folder.name} has {needed:,} bytes, and {free:,} are free at {self.hub}.")
        return target, copy_tree(folder, target, wanted.__contains__)

    def fetch_subset(self, name: str) -> Path:
        """Fetch from the Hub what ``copy_subset`` would copy, and return its folder. Raises IsolationError.

        By a process of its own: the client keeps what it was told about caches when it was imported.
        """
        variables = {key: value for key, value in self.environment().items() if key != "HF_HUB_OFFLINE"}
        command = [sys.executable, "-c", _FETCH, name, str(_whole_number("MLXK2_SUBSET_COUNT", 1)), " ".join(_WEIGHTS)]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=_FETCH_LIMIT_S, check=False)
        if done.returncode:
            raise IsolationError(f"{name} cannot be fetched: {done.stderr.strip().rpartition(chr(10))[2]}")
        return self.hub / f"models--{name.replace('/', '--')}"

    def of_user(self, name: str) -> Path:
        """The snapshot of a copy of one of the user's models, all of it or, as the variables say, a part.

        Where the user has none of that name, and ``MLXK2_BOOTSTRAP_INDEX`` is 1, a part comes from the Hub.
        Raises IsolationError.
        """
        variables = settings.whole()
        theirs = guard.hub_of({"HF_HOME": variables["MLXK2_USER_HF_HOME"]}) / f"models--{name.replace('/', '--')}"
        if theirs.is_dir():
            folder, _ = self.copy_subset(theirs) if copies_in_part() else self.copy_model(theirs)
        elif variables.get("MLXK2_BOOTSTRAP_INDEX") == "1":
            folder = self.fetch_subset(name)
        else:
            raise IsolationError(f"There is no {theirs}. Pull it, or set MLXK2_BOOTSTRAP_INDEX=1 to fetch a part of it.")
        return _current_snapshot(folder)


def copies_in_part() -> bool:
    """Whether a part of the user's models is enough, which MLXK2_COPY_STRATEGY or the number of shards says."""
    variables = settings.whole()
    return variables.get("MLXK2_COPY_STRATEGY") == "index_subset" or "MLXK2_SUBSET_COUNT" in variables


def _current_snapshot(folder: Path) -> Path:
    """The one that ``refs/main`` names, else the newest. Raises IsolationError where there is none."""
    main = folder / "refs" / "main"
    named = folder / "snapshots" / main.read_text(encoding="utf-8").strip() if main.is_file() else None
    if named is not None and named.is_dir():
        return named
    snapshots = sorted((folder / "snapshots").glob("*/"), key=lambda path: path.stat().st_mtime)
    if not snapshots:
        raise IsolationError(f"{folder} has no snapshot to copy.")
    return snapshots[-1]


def _whole_number(name: str, default: int) -> int:
    text = settings.whole().get(name, str(default))
    if not text.isdecimal():
        raise IsolationError(f"{name} is {text!r}; it must be a whole number.")
    return int(text)


_LEADING_ELSEWHERE = frozenset({"HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "MLXK_WORKSPACE_HOME", "XDG_CACHE_HOME"})


def create(near: Path | None = None) -> IsolatedCache:
    """A new cache, on the volume of ``near`` (a user's cache to copy from) where that can be written to.

    The signature is written at once; where that fails, the folder goes again.
    """
    root = Path(tempfile.mkdtemp(prefix=MARKER, dir=_place(near)))
    try:
        cache = IsolatedCache(root, _sign(root))
    except BaseException:
        root.rmdir()
        raise
    snapshot = cache.hub / SENTINEL / "snapshots" / _SENTINEL_COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text(_SENTINEL_CONFIG, encoding="utf-8")
    return cache


def delete(cache: IsolatedCache) -> None:
    """Delete the whole folder. Raises IsolationError, and deletes nothing, where it may be anything but this very cache."""
    _verify(cache.root, cache.signature_id)
    if not guard.is_of_a_test(cache.hub):
        raise IsolationError(f"{cache.hub} has no {SENTINEL}: it may be a user's cache, and is not deleted.")
    for model in cache.hub.glob("models--*"):
        if model.name != SENTINEL:  # it goes last: whatever is left by then may be deleted too
            shutil.rmtree(model)
    shutil.rmtree(cache.root)
    if cache.root.parent.name == _VOLUME_FOLDER and not any(cache.root.parent.iterdir()):
        cache.root.parent.rmdir()


def check_context(wanted: Context) -> Path:
    """The hub cache of this process, provided that it is a test's or a user's, as ``wanted``. Raises IsolationError."""
    hub = guard.hub_of(settings.whole())
    found: Context = "test" if guard.is_of_a_test(hub) and (hub.parent.parent / SIGNATURE).is_file() else "user"
    if found != wanted:
        raise IsolationError(f"This needs a {wanted} cache, and {hub} is a {found} cache.")
    return hub


def pytest_configure(config: pytest.Config) -> None:
    """The user's cache is read-only from here on; a cell with a minted model has one of its own beside it."""
    guard.protect(guard.hub_of({"HOME": str(Path.home())}))
    cell = config.stash[CELL]
    if cell is None or (cell.model and cell.model.origin != "minted"):
        guard.protect(guard.hub_of(settings.whole()), settings.copied_hf_home() / "hub")


@pytest.fixture
def isolated_cache() -> Iterator[IsolatedCache]:
    """An empty cache of this test's own, which HF_HOME names; no child may use the user's. Deleted after a check."""
    user_home = settings.copied_hf_home()
    before = settings.whole()
    cache = create(near=user_home)
    with pytest.MonkeyPatch.context() as patch, guard.no_child_sees_it():
        for name in _LEADING_ELSEWHERE:
            patch.delenv(name, raising=False)
        patch.setenv("HF_HOME", str(cache.home))
        patch.setenv("MLXK2_USER_HF_HOME", str(user_home))
        patch.setenv(guard.STRICT, "1")
        yield cache
    after = settings.whole()
    told = _LEADING_ELSEWHERE | {"MLXK2_USER_HF_HOME", guard.STRICT}
    changed = {name for name in told if before.get(name) != after.get(name)}
    delete(cache)
    assert not changed, f"the test left {sorted(changed)} other than it found them"


def _place(near: Path | None) -> Path:
    """The folder for temporary files, unless another one is on the volume of ``near``: copying on write needs one volume."""
    usual = settings.scratch()
    while near is not None and not near.exists():
        near = near.parent
    if near is None or near.stat().st_dev == usual.stat().st_dev:
        return usual
    top = near
    while top.parent != top and top.parent.stat().st_dev == near.stat().st_dev:
        top = top.parent
    place = top / _VOLUME_FOLDER
    try:
        place.mkdir(exist_ok=True)
    except OSError:  # a volume whose root belongs to somebody else: the copies are only slower
        return usual
    return place


def _sign(root: Path) -> str:
    signature_id = str(uuid.uuid4())
    content = {
        "magic": MAGIC,
        "signature_id": signature_id,
        "path_hash": _path_hash(root),
        "created_path": str(root),
        "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    unfinished = root / f"{SIGNATURE}.new"
    try:
        unfinished.write_text(json.dumps(content, indent=1), encoding="utf-8")
        unfinished.replace(root / SIGNATURE)
    finally:
        unfinished.unlink(missing_ok=True)
    return signature_id


def _verify(root: Path, signature_id: str) -> None:
    try:
        signature = json.loads((root / SIGNATURE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise IsolationError(f"{root} has no signature that can be read, and is not deleted: {error}") from error
    wanted = {"magic": MAGIC, "signature_id": signature_id, "path_hash": _path_hash(root)}
    wrong = [key for key, value in wanted.items() if not isinstance(signature, dict) or signature.get(key) != value]
    if wrong or MARKER not in root.name:
        raise IsolationError(f"{root} is not deleted: its {', '.join(wrong) or 'name'} is not that of the cache that was made.")


def _path_hash(root: Path) -> str:
    return hashlib.sha256(str(root).encode("utf-8")).hexdigest()[:16]
