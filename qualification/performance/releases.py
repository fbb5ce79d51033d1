"""Finds the wheel of a release: a file, or what a tag of this repository builds."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from qualification.errors import EnvironmentUnfitError, UsageError
from qualification.performance.environments import uv_command

_BUILD_TIMEOUT_S = 300


def wheel_of(release: str, project: Path, kept: Path) -> Path:
    """The wheel at the path ``release``, else that of the tag or commit ``release``, built once and kept below ``kept``.

    Raises ``UsageError`` for what is neither, and ``EnvironmentUnfitError`` for what cannot be built.
    """
    if release.endswith(".whl") or Path(release).is_file():
        return Path(release)
    commit = _commit(release, project)
    folder = kept / commit
    if not any(folder.glob("*.whl")):
        with tempfile.TemporaryDirectory(prefix="mlxk-release-") as scratch:
            _unpack(commit, project, Path(scratch))
            _build(Path(scratch) / "tree", folder, release)
    return next(folder.glob("*.whl"))


def before(asked: str | None, project: Path, kept: Path) -> tuple[Path | None, str]:
    """The wheel of the release before the commit that is checked out; or, where none came before it, a sentence that says so.

    Neither where nobody knows: nothing is ``asked`` for, and the history is not there, not whole, or was cloned without its
    tags. ``asked`` is a wheel, a tag, or ``first``; without it the newest tag of a version decides.
    """
    if asked == "first":
        return None, "it is said to be the first release (BASE=first), so there is none to compare it with"
    if asked is None:
        if _git(project, "rev-parse", "--is-shallow-repository").stdout.strip() != "false":
            return None, ""
        if "--no-tags" in _git(project, "config", "--get-regexp", r"^remote\..*\.tagopt$").stdout:
            return None, ""
        found = _git(project, "describe", "--tags", "--abbrev=0", "--match", "v[0-9]*", "HEAD^")
        if found.returncode:
            return None, "no tag such as v1.2.3 is in the history, so there is no earlier release to compare this one with"
        asked = found.stdout.strip()
    return wheel_of(asked, project, kept), ""


def _git(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = ["git", "-C", str(project), *arguments]
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    except FileNotFoundError:
        return subprocess.CompletedProcess(argv, 127, "", "git is not installed")


def _commit(release: str, project: Path) -> str:
    found = _git(project, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{release}^{{commit}}")
    if found.returncode:
        tags = ", ".join(_git(project, "tag", "--sort=-creatordate").stdout.split()[:6]) or "none"
        raise UsageError(f"{release} is neither a wheel nor a tag of this repository (tags: {tags}); give BASE=<wheel|tag>")
    return found.stdout.strip()


def _unpack(commit: str, project: Path, scratch: Path) -> None:
    archive = scratch / "tree.zip"
    packing = ["git", "-C", str(project), "archive", "--format=zip", f"--output={archive}", commit]
    done = subprocess.run(packing, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise EnvironmentUnfitError(f"git does not give the files of {commit}: {done.stderr.strip()[-500:]}")
    shutil.unpack_archive(archive, scratch / "tree")


def _build(tree: Path, folder: Path, release: str) -> None:
    uv = uv_command()
    if not uv:
        raise EnvironmentUnfitError(f"a wheel of {release} is built with uv; `pip install uv`, or give the wheel itself")
    argv = [*uv, "build", "--quiet", "--wheel", "--out-dir", str(folder), str(tree)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_BUILD_TIMEOUT_S, check=False)
    if done.returncode:
        raise EnvironmentUnfitError(f"{release} cannot be built into a wheel: {done.stderr.strip()[-500:]}")
