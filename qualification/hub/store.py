"""Repositories on disk: commits, branches, tags and the files that they name. Every change is one whole step.

<root>/objects/<sha256>                       the content of every file, once
<root>/parts/<sha256>/<number>                what has come of a file that comes in parts
<root>/repositories/<org>--<name>/state.json  visibility, branches and tags
<root>/repositories/<org>--<name>/<commit>.json  what a commit holds, and its parent
<root>/repositories/<org>--<name>/moved       of a repository that was renamed: its name now
<root>/tokens.json                            who may do what
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal

Gate = Literal[False, "auto", "manual"]
Role = Literal["read", "write"]

_LFS_SUFFIXES = (".safetensors", ".bin", ".gguf", ".npz", ".pt", ".model", ".h5", ".onnx")
_REGULAR_MAX_BYTES = 10 << 20
_PIECE_BYTES = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")
GITATTRIBUTES = b"".join(b"*%s filter=lfs diff=lfs merge=lfs -text\n" % suffix.encode() for suffix in _LFS_SUFFIXES)


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a commit. ``blob_id`` is git's name for it (of its pointer if ``lfs``), ``xet_hash`` that of Xet."""

    path: str
    size: int
    sha256: str
    blob_id: str
    lfs: bool
    xet_hash: str | None = None

    @property
    def etag(self) -> str:
        """What the cache names the blob by."""
        return self.sha256 if self.lfs else self.blob_id


@dataclass(frozen=True, slots=True)
class State:
    """What of a repository can change. ``tags`` and ``branches`` lead to commits."""

    id: str
    private: bool = False
    gated: Gate = False
    disabled: bool = False
    branches: Mapping[str, str] | None = None
    tags: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Commit:
    id: str
    parent: str | None
    title: str
    created_at: str
    files: Mapping[str, Entry]


@dataclass(frozen=True, slots=True)
class User:
    """``namespaces``: whose repositories this user sees and changes beside his own; "*" stands for all."""

    name: str
    role: Role
    namespaces: tuple[str, ...] = ()

    def belongs_to(self, namespace: str) -> bool:
        return namespace == self.name or namespace in self.namespaces or "*" in self.namespaces


TOKENS = {
    "hf_local_write": User("local", "write", ("*",)),
    "hf_local_read": User("local", "read", ("*",)),
    "hf_local_stranger": User("stranger", "write"),
}
"""The tokens of a new hub. The stranger sees nobody's private repositories, and has been let into no gated one."""


class Missing(Exception):
    """There is no such thing. ``kind`` is the Hub's own code for it."""

    def __init__(self, kind: Literal["RepoNotFound", "RevisionNotFound", "EntryNotFound"], sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind


class Stale(Exception):
    """The branch has moved on since the commit that a change is based on."""


class Store:
    """Everything that the hub knows. Safe to use from several threads; one process at a time."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock = threading.RLock()
        for folder in ("objects", "repositories"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        if not (root / "tokens.json").exists():
            _write_json(root / "tokens.json", {token: asdict(user) for token, user in TOKENS.items()})

    def user(self, token: str) -> User | None:
        found = json.loads((self.root / "tokens.json").read_text(encoding="utf-8")).get(token)
        return User(found["name"], found["role"], tuple(found["namespaces"])) if found else None

    # Repositories

    def names(self) -> list[str]:
        return sorted(path.parent.name.replace("--", "/", 1) for path in (self.root / "repositories").glob("*/state.json"))

    def state(self, name: str) -> State:
        """Raises Missing."""
        try:
            return State(**json.loads((self._folder(name) / "state.json").read_text(encoding="utf-8")))
        except (FileNotFoundError, NotADirectoryError, ValueError) as error:
            raise Missing("RepoNotFound", "Repository not found") from error

    def create(self, name: str, *, private: bool = False) -> bool:
        """A repository with one commit, as the Hub makes it. False if it is there already."""
        with self._lock:
            try:
                self._folder(name).mkdir()
            except FileExistsError:
                return False
            first = self._write_commit(
                name, None, "initial commit", {".gitattributes": self.put(".gitattributes", GITATTRIBUTES)}
            )
            self._write_state(State(name, private=private, branches={"main": first.id}, tags={}))
            return True

    def delete(self, name: str) -> None:
        self.state(name)
        shutil.rmtree(self._folder(name))

    def rename(self, name: str, new: str) -> None:
        """Under the old name it is said from then on where it went."""
        with self._lock:
            state = self.state(name)
            self._folder(name).rename(self._folder(new))
            self._write_state(replace(state, id=new))
            self._folder(name).mkdir()
            (self._folder(name) / "moved").write_text(new, encoding="utf-8")

    def moved(self, name: str) -> str | None:
        """The name now of what was once called so."""
        try:
            return (self._folder(name) / "moved").read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def change(self, name: str, **fields: Any) -> None:
        """Set ``private``, ``gated`` or ``disabled``."""
        with self._lock:
            self._write_state(replace(self.state(name), **fields))

    def set_ref(self, name: str, kind: Literal["branches", "tags"], ref: str, commit: str) -> bool:
        """A new branch or tag. False if it is there already."""
        with self._lock:
            state = self.state(name)
            there: Mapping[str, str] = getattr(state, kind) or {}
            if ref in there:
                return False
            fields: dict[str, Any] = {kind: {**there, ref: commit}}
            self._write_state(replace(state, **fields))
            return True

    def drop_branch(self, name: str, branch: str) -> None:
        with self._lock:
            state = self.state(name)
            self._write_state(
                replace(state, branches={key: value for key, value in (state.branches or {}).items() if key != branch})
            )

    # Commits

    def resolve(self, name: str, revision: str) -> Commit:
        """The commit that a branch, a tag or a full hash names. Raises Missing."""
        state = self.state(name)
        wanted = {**(state.tags or {}), **(state.branches or {})}.get(revision, revision)
        if len(wanted) == 40 and (path := self._folder(name) / f"{wanted}.json").is_file():
            return _commit(json.loads(path.read_text(encoding="utf-8")))
        raise Missing("RevisionNotFound", f"Invalid rev id: {revision}")

    def split_revision(self, name: str, path: str) -> tuple[Commit, str]:
        """The commit that begins a path, and what follows it: a branch's name may hold slashes. Raises Missing."""
        words = path.split("/")
        for count in range(1, len(words) + 1):
            try:
                return self.resolve(name, "/".join(words[:count])), "/".join(words[count:])
            except Missing as error:
                if error.kind != "RevisionNotFound":
                    raise
        raise Missing("RevisionNotFound", f"Invalid rev id: {words[0]}")

    def entry(self, name: str, commit: Commit, path: str) -> Entry:
        try:
            return commit.files[path]
        except KeyError as error:
            raise Missing("EntryNotFound", f"Entry not found: {path}") from error

    def history(self, name: str, commit: Commit) -> Iterator[Commit]:
        at: Commit | None = commit
        while at is not None:
            yield at
            at = self.resolve(name, at.parent) if at.parent else None

    def commit(
        self, name: str, branch: str, title: str, put: Mapping[str, Entry], gone: Mapping[str, bool], parent: str | None = None
    ) -> Commit:
        """Change a branch. ``gone``: paths that leave, true for a folder. Raises Missing and Stale."""
        with self._lock:
            state = self.state(name)
            head = self.resolve(name, branch)
            if branch not in (state.branches or {}):
                raise Missing("RevisionNotFound", f"Invalid rev id: {branch}")
            if parent is not None and parent != head.id:
                raise Stale(f"A commit has happened since. {head.id} is not {parent}.")
            kept = {path: entry for path, entry in head.files.items() if not _goes(path, gone)}
            made = self._write_commit(name, head.id, title, {**kept, **put})
            self._write_state(replace(state, branches={**(state.branches or {}), branch: made.id}))
            return made

    def import_folder(self, name: str, folder: Path, branch: str = "main", title: str = "import") -> Commit:
        """Make a branch hold exactly the files of a folder, links followed; hidden ones are left out."""
        self.create(name)
        files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        shown = {path: file for path, file in files.items() if not any(part.startswith(".") for part in path.split("/"))}
        put = {path: self.put_file(path, file) for path, file in shown.items()}
        gone = {path: False for path in self.resolve(name, branch).files if path not in put and path != ".gitattributes"}
        return self.commit(name, branch, title, put, gone)

    # Content

    def object(self, sha256: str) -> Path:
        """Raises ValueError where it is no such hash: it comes from a client."""
        if not _SHA256.fullmatch(sha256):
            raise ValueError(f"{sha256!r} is no sha256")
        return self.root / "objects" / sha256

    def put(self, path: str, content: bytes, *, lfs: bool | None = None) -> Entry:
        digest = hashlib.sha256(content).hexdigest()
        if not self.object(digest).exists():
            with self.incoming() as file:
                file.write_bytes(content)
                file.replace(self.object(digest))
        as_lfs = is_lfs(path, len(content), content[:512]) if lfs is None else lfs
        return entry(path, len(content), digest, as_lfs, git_blob_id(content) if not as_lfs else None)

    def put_file(self, path: str, file: Path) -> Entry:
        size = file.stat().st_size
        if size <= _REGULAR_MAX_BYTES:
            return self.put(path, file.read_bytes())
        digest = hash_file(file)
        if not self.object(digest).exists():
            with self.incoming() as beside:
                shutil.copyfile(file, beside)
                beside.replace(self.object(digest))
        return entry(path, size, digest, lfs=True)

    def put_part(self, sha256: str, number: int, content: IO[bytes]) -> str:
        """Keep a part of what is to be ``sha256``; its own hash."""
        place = self._parts(sha256) / str(number)
        place.parent.mkdir(parents=True, exist_ok=True)
        with self.incoming() as file:
            with file.open("wb") as opened:
                shutil.copyfileobj(content, opened, _PIECE_BYTES)
            file.replace(place)
        return hash_file(place)

    def complete(self, sha256: str, parts: Sequence[tuple[int, str]]) -> None:
        """Put the parts together, each of which has this number and hash. Raises ValueError where they do not make it."""
        folder = self._parts(sha256)
        with self.incoming() as file:
            with file.open("wb") as whole:
                for number, digest in parts:
                    if hash_file(folder / str(number)) != digest:
                        raise ValueError(f"part {number} is not {digest}")
                    with (folder / str(number)).open("rb") as part:
                        shutil.copyfileobj(part, whole, _PIECE_BYTES)
            if hash_file(file) != sha256:
                raise ValueError(f"the parts do not make {sha256}")
            file.replace(self.object(sha256))
        shutil.rmtree(folder)

    @contextmanager
    def incoming(self) -> Iterator[Path]:
        """A place for a file that is being received; what is still there at the end goes."""
        handle, name = tempfile.mkstemp(prefix="incoming-", dir=self.root / "objects")
        os.close(handle)
        try:
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)

    def _parts(self, sha256: str) -> Path:
        return self.root / "parts" / self.object(sha256).name

    def can_be_called(self, name: str) -> bool:
        """Whether a repository can have this name."""
        return name.count("/") == 1 and not any(part in ("", ".", "..") for part in name.split("/"))

    def _folder(self, name: str) -> Path:
        if not self.can_be_called(name):
            raise Missing("RepoNotFound", "Repository not found")
        return self.root / "repositories" / name.replace("/", "--")

    def _write_state(self, state: State) -> None:
        _write_json(self._folder(state.id) / "state.json", asdict(state))

    def _write_commit(self, name: str, parent: str | None, title: str, files: Mapping[str, Entry]) -> Commit:
        content = {
            "parent": parent,
            "title": title,
            "created_at": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()),
            "files": [asdict(files[path]) for path in sorted(files)],
        }
        made = hashlib.sha1(json.dumps([name, time.time_ns(), content]).encode()).hexdigest()
        _write_json(self._folder(name) / f"{made}.json", {"id": made, **content})
        return Commit(made, parent, title, str(content["created_at"]), files)


def is_lfs(path: str, size: int, sample: bytes) -> bool:
    """As the Hub decides it: by the repository's attributes, by size, and for what is no text."""
    return size > 0 and (path.endswith(_LFS_SUFFIXES) or size > _REGULAR_MAX_BYTES or b"\0" in sample)


def entry(path: str, size: int, sha256: str, lfs: bool, blob_id: str | None = None, xet_hash: str | None = None) -> Entry:
    return Entry(path, size, sha256, blob_id or git_blob_id(pointer(sha256, size)), lfs, xet_hash)


def pointer(sha256: str, size: int) -> bytes:
    """https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md"""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def git_blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def hash_file(file: Path) -> str:
    whole = hashlib.sha256()
    with file.open("rb") as opened:
        while piece := opened.read(_PIECE_BYTES):
            whole.update(piece)
    return whole.hexdigest()


def _goes(path: str, gone: Mapping[str, bool]) -> bool:
    return any(path == name or (folder and path.startswith(f"{name.rstrip('/')}/")) for name, folder in gone.items())


def _commit(document: dict[str, Any]) -> Commit:
    files = {found["path"]: Entry(**found) for found in document["files"]}
    return Commit(document["id"], document["parent"], document["title"], document["created_at"], files)


def _write_json(path: Path, content: object) -> None:
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(json.dumps(content), encoding="utf-8")
    beside.replace(path)
