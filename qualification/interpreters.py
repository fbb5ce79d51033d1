"""Finds the Python of a given version on this machine, where a version manager's shim may stand in its way."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from qualification import settings

_PROBE_TIMEOUT_S = 20


@cache
def find(version: str) -> Path | None:
    """The interpreter for ``"3.11"``, or None.

    A name on PATH counts only if it runs and is of that version. Shims of version managers do not count: they exist for
    versions that are not selected, and then fail. What they stand for is found next, in the directories of pyenv, uv, asdf
    and mise, newest patch release first.
    """
    return next((path for path in _candidates(version) if _is_version(path, version)), None)


def missing_sentence(version: str) -> str:
    """What to tell a person whose machine lacks this Python."""
    return f"Python {version} is not on this machine; `pyenv install {version}` or `uv python install {version}` adds it"


def _candidates(version: str) -> Iterator[Path]:
    if f"{sys.version_info.major}.{sys.version_info.minor}" == version:
        yield Path(sys.executable)
    for directory in settings.search_path():
        if directory.name != "shims":
            yield directory / f"python{version}"
    for managed, pattern in ((settings.pyenv_root() / "versions", "{0}.*/bin/python"), *_MANAGED):
        yield from sorted(managed.expanduser().glob(pattern.format(version)), key=_patch_release, reverse=True)


_MANAGED = (
    (Path("~/.local/share/uv/python"), "cpython-{0}.*/bin/python"),
    (Path("~/.asdf/installs/python"), "{0}.*/bin/python"),
    (Path("~/.local/share/mise/installs/python"), "{0}.*/bin/python"),
)


def _patch_release(path: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in path.parent.parent.name.split("-")[-1].split(".") if part.isdigit())


def _is_version(python: Path, version: str) -> bool:
    if not python.exists():
        return False
    script = "import sys; raise SystemExit('%d.%d' % sys.version_info[:2] != sys.argv[1])"
    try:
        probe = subprocess.run([python, "-I", "-c", script, version], capture_output=True, timeout=_PROBE_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return probe.returncode == 0
