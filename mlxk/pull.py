"""Bringing a model from the Hub into the cache: what is asked of whom, in which order, before a byte is written."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

from mlxk import cache, fetch
from mlxk.cache import Snapshot
from mlxk.errors import AmbiguousMatch, HubUnavailable, InvalidName, NotFound, RevisionNotFound
from mlxk.fetch import Plan
from mlxk.hub import Hub, Remote, RemoteFile
from mlxk.library import Library, Model

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_NAME_MAX = 96
_HASH_PREFIX = re.compile(r"[0-9a-fA-F]{4,40}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person asks for. ``revision`` is None for the default branch."""

    name: str
    revision: str | None

    @property
    def ref(self) -> str:
        return self.revision or "main"


@dataclass(frozen=True, slots=True, eq=False)
class Offer:
    """What the Hub has for it. ``warning`` says what first went wrong in finding out, and then did not."""

    remote: Remote
    plan: Plan
    warning: str | None


def parse(spec: str) -> Wanted:
    """``org/name`` or ``org/name@revision``, in full: a download never guesses. Raises InvalidName."""
    name, at, revision = spec.partition("@")
    parts = name.split("/")
    if len(parts) > 2 or not all(_PART.fullmatch(part) for part in parts) or "--" in name or ".." in name:
        raise InvalidName(f"{spec!r} cannot be a model of the Hub. A name is org/name, of letters, digits, '-', '_' and '.'.")
    if len(name) > _NAME_MAX:
        raise InvalidName(f"{name[:20]}… has {len(name)} characters, and the Hub allows {_NAME_MAX}.")
    if at and not cache.is_revision(revision):
        raise InvalidName(f"{revision!r} cannot be a revision. It is a branch, a tag, or a commit.")
    return Wanted(name, revision or None)


def here(library: Library, wanted: Wanted) -> Model | None:
    """The model as the cache has it, whole or not; None where there is nothing of it."""
    hub, name = library.hub, wanted.name
    if name not in cache.names(hub):
        return None
    try:
        found = cache.pinned(hub, name, wanted.revision) if wanted.revision else _of_default_branch(hub, name)
    except NotFound:
        return None
    return library.inspect(found) if found is not None else None


def offered(source: Hub, hub: Path, wanted: Wanted, *, distrust: bool = False) -> Offer:
    """Ask the Hub for everything that must be known first; nothing is written. Raises what ``Hub`` raises.

    A Hub that is busy is asked once more, when it says; ``warning`` then says so.
    """
    warning = None
    try:
        remote, files = _asked(source, wanted)
    except HubUnavailable as error:
        warning = error.message
        time.sleep(min(error.retry_after_s or 0, fetch.LONGEST_WAIT_S))
        remote, files = _asked(source, wanted)
    is_commit = wanted.revision is not None and remote.commit.startswith(wanted.revision.lower())
    ref = None if is_commit else wanted.ref
    return Offer(remote, fetch.plan(hub, wanted.name, remote, files, ref, distrust=distrust), warning)


def _asked(source: Hub, wanted: Wanted) -> tuple[Remote, tuple[RemoteFile, ...]]:
    """The commit and its files, once it is sure that they may be downloaded."""
    remote = _remote(source, wanted)
    files = source.files(wanted.name, remote.commit)
    if remote.gated and files:
        weightiest = max(files, key=lambda file: file.size)  # what a page shows, as README.md, may be open to everybody
        source.check_access(remote.name, remote.commit, weightiest.path)  # under its own name: a redirection would say nothing
    return remote, files


def _of_default_branch(hub: Path, name: str) -> Snapshot | None:
    """None where only other branches, tags or commits were ever fetched. Without any snapshot, what is there is unfinished."""
    named = cache.at_ref(hub, name, "main")
    return named if named is not None or cache.commits(hub, name) else cache.current(hub, name)


def _remote(source: Hub, wanted: Wanted) -> Remote:
    """The commit of a branch or tag, else of the one commit whose hash begins so."""
    try:
        return source.model(wanted.name, wanted.revision)
    except RevisionNotFound:
        revision = (wanted.revision or "").lower()
        if not _HASH_PREFIX.fullmatch(revision):
            raise
        matches = [commit for commit in source.commits(wanted.name) if commit.startswith(revision)]
        if len(matches) > 1:
            said = f"{revision!r} begins {len(matches)} commits of {wanted.name}: {', '.join(matches)}."
            raise AmbiguousMatch(said, matches=matches) from None
        if not matches:
            raise
        return source.model(wanted.name, matches[0])
