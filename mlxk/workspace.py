"""A workspace: a folder of one's own with one model in it, and the sentinel file that says where it came from."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from mlxk.files import read_part

SENTINEL = ".mlxk_workspace.json"
_REQUIRED = {"mlxk_version": str, "created_at": str, "managed": bool, "operation": str}
_SENTINEL_MAX_BYTES = 16 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Sentinel:
    """What the sentinel file says; ``document`` is all of it."""

    managed: bool
    origin: str | None
    content_hash: str | None
    hash_modified: str | None
    document: dict[str, Any]


def is_path(spec: str) -> bool:
    """Whether a person means a folder: ``.``, ``..``, and what begins with ``./``, ``../`` or ``/``."""
    return spec in (".", "..") or spec.startswith(("./", "../", "/"))


def at(path: str) -> list[str]:
    """What a path lists: the workspace itself, else those in it, else those beside it whose name begins as it ends."""
    folder = os.path.abspath(path)  # noqa: PTH100 - strings, see mlxk.cache
    if _holds_model(folder):
        return [folder]
    parent, _, prefix = folder.rpartition("/")
    return in_folder(folder) or in_folder(parent or "/", prefix)


def in_folder(place: str, prefix: str = "") -> list[str]:
    """The paths of the workspaces directly in a folder whose name begins with ``prefix``, sorted."""
    try:
        found = sorted(os.listdir(place))  # noqa: PTH208
    except (OSError, ValueError):
        return []
    return [f"{place}/{name}" for name in found if name.startswith(prefix) and _holds_model(f"{place}/{name}")]


def _holds_model(folder: str) -> bool:
    return os.path.isfile(f"{folder}/config.json")  # noqa: PTH113


def sentinel(folder: str) -> Sentinel | None:
    """The sentinel of a workspace, or None where there is none that can be trusted."""
    raw = read_part(f"{folder}/{SENTINEL}", _SENTINEL_MAX_BYTES)
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or any(not isinstance(document.get(key), kind) for key, kind in _REQUIRED.items()):
        return None
    return Sentinel(
        document["managed"],
        _text(document, "source_repo"),
        _text(document, "content_hash"),
        _text(document, "hash_modified"),
        document,
    )


def _text(document: dict[str, Any], key: str) -> str | None:
    value = document.get(key)
    return value if isinstance(value, str) else None
