"""The user's cache is read-only in a test process: what would write there, or start a child that could, is refused.

An audit hook of the interpreter sees every call that opens, makes, moves or removes a file, whoever makes it.
With ``MLXK2_STRICT_TEST_DELETE=1``, as beside an isolated cache, nothing is deleted from any cache without the sentinel of one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qualification import settings

SENTINEL = "models--TEST-CACHE-SENTINEL--mlxk2-safety-check"
"""The model that is in every cache of a test, and in no user's."""

STRICT = "MLXK2_STRICT_TEST_DELETE"

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_NONE = -1
_PATHS_AT = {
    "os.mkdir": ((0, 2),),
    "os.rmdir": ((0, 1),),
    "os.remove": ((0, 1),),
    "os.rename": ((0, 2), (1, 3)),
    "os.link": ((1, 3),),
    "os.symlink": ((1, 2),),
    "os.truncate": ((0, _NONE),),
    "os.chmod": ((0, 2),),
    "os.chown": ((0, 3),),
    "os.utime": ((0, 3),),
    "os.setxattr": ((0, _NONE),),
    "shutil.rmtree": ((0, 1),),
}
"""By audit event: which argument is a path that changes, and which the directory it is relative to (rmtree's is new in 3.11)."""


_DELETING = frozenset({"os.remove", "os.rmdir", "shutil.rmtree"})


class UserCacheIsReadOnly(Exception):
    """A test was about to change the user's cache; it was kept from it."""


@dataclass(slots=True)
class _Guard:
    """Directories with real paths. ``alone``: how many tests want no child to see one of them."""

    protected: set[str] = field(default_factory=set)
    alone: int = 0
    installed: bool = False


_GUARD = _Guard()


def protect(*folders: Path) -> None:
    """From now on, for as long as this process lives."""
    _GUARD.protected.update(os.path.realpath(folder) for folder in folders)
    if not _GUARD.installed:
        _GUARD.installed = True
        sys.addaudithook(_audit)


@contextmanager
def no_child_sees_it() -> Iterator[None]:
    """Meanwhile a child whose environment leads it to a protected cache is not started."""
    _GUARD.alone += 1
    try:
        yield
    finally:
        _GUARD.alone -= 1


def hub_of(environment: Mapping[str, str]) -> Path:
    """The hub cache that a process with this environment uses, as huggingface_hub finds it."""
    explicit = environment.get("HF_HUB_CACHE") or environment.get("HUGGINGFACE_HUB_CACHE")
    if explicit:
        return Path(explicit)
    if home := environment.get("HF_HOME"):
        return Path(home) / "hub"
    base = environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME", "~")).expanduser() / ".cache"
    return Path(base) / "huggingface" / "hub"


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        path, _, flags = arguments
        if isinstance(flags, int) and flags & _WRITING and not isinstance(path, int):
            _refuse(event, path, None)
    elif event in _PATHS_AT:
        for at, relative_to in _PATHS_AT[event]:
            if not isinstance(arguments[at], int):
                _refuse(event, arguments[at], dict(enumerate(arguments)).get(relative_to))
    elif event == "subprocess.Popen":
        _refuse_child(arguments[1], arguments[3])


def _refuse(event: str, path: Any, directory: Any) -> None:
    where = os.path.realpath(_base(directory) / os.fsdecode(path)) if path is not None else ""
    for folder in _GUARD.protected:
        if where == folder or where.startswith(folder + os.sep):
            raise UserCacheIsReadOnly(
                f"{event} of {where}: tests never write to the user's cache. Use the fixture isolated_cache."
            )
    if event in _DELETING and settings.whole().get(STRICT) == "1":
        _refuse_deleting(event, Path(where))


def _refuse_deleting(event: str, where: Path) -> None:
    """What lies in a model's folder, or is one, goes only where the sentinel stands beside it. So the sentinel goes last."""
    model = next((path for path in (where, *where.parents) if path.name.startswith("models--")), None)
    if model is not None and not is_of_a_test(model.parent):
        raise UserCacheIsReadOnly(
            f"{event} of {where}: {STRICT} is 1, and {model.parent} has no {SENTINEL}, so it may be a user's cache."
        )


def is_of_a_test(hub: Path) -> bool:
    return (hub / SENTINEL).is_dir()


def _refuse_child(argv: Any, environment: Any) -> None:
    strict = settings.whole().get(STRICT) == "1"
    if not (_GUARD.alone or strict):
        return
    hub = os.path.realpath(hub_of(settings.whole() if environment is None else _decoded(environment)))
    words = [os.fsdecode(word) for word in argv] if isinstance(argv, (list, tuple)) else os.fsdecode(argv).split()
    command = subprocess.list2cmdline(words)
    if strict and "rm" in words and Path(hub).is_dir() and not is_of_a_test(Path(hub)):
        raise UserCacheIsReadOnly(f"`{command}` would delete from {hub}: {STRICT} is 1, and there is no {SENTINEL}.")
    if _GUARD.alone and hub in _GUARD.protected:
        raise UserCacheIsReadOnly(
            f"`{command}` would use the user's cache {hub}. Give it the environment of the fixture isolated_cache."
        )


def _decoded(environment: Mapping[Any, Any]) -> dict[str, str]:
    return {os.fsdecode(name): os.fsdecode(value) for name, value in environment.items()}


def _base(directory: Any) -> Path:
    """The directory that a path is relative to, given as a descriptor (as shutil does) or not at all."""
    return Path(f"/dev/fd/{directory}").resolve() if isinstance(directory, int) and directory >= 0 else Path.cwd()
