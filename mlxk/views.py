"""How a model is shown: as the JSON object of `list` and `show`, and in short words for tables."""

from __future__ import annotations

import time
from typing import Any

from mlxk import workspace
from mlxk.library import Model
from mlxk.output import Colour

_PREFIX = "mlx-community/"


def model_object(model: Model) -> dict[str, Any]:
    """The object that ``modelObject`` in ``schemas/output.json`` describes."""
    described = model.description
    return {
        "name": model.name,
        "hash": model.snapshot.commit,
        "size_bytes": model.contents.size_bytes,
        "last_modified": _utc(model.contents.modified_s),
        "framework": described.framework,
        "model_type": described.kind,
        "capabilities": list(described.capabilities),
        "health": "healthy" if model.healthy else "unhealthy",
        "runtime_compatible": model.runnable,
        "reason": model.reason,
        "runtime": _runtime(model),
        "cached": model.snapshot.cached,
        "context_length": described.context_length,
        **(_IN_CACHE if model.snapshot.cached else provenance(model.snapshot.folder)),
    }


_IN_CACHE = {"origin": None, "content_hash": None, "hash_modified": None, "clean": None}


def provenance(folder: str) -> dict[str, Any]:
    """What the sentinel of a workspace says, and whether it is still true."""
    pinned = workspace.sentinel(folder)
    if pinned is None:
        return dict(_IN_CACHE)
    from mlxk.content_hash import clean  # noqa: PLC0415 - hashing is for workspaces only

    return {
        "origin": pinned.origin,
        "content_hash": pinned.content_hash,
        "hash_modified": pinned.hash_modified,
        "clean": clean(folder, pinned),
    }


def health_entry(model: Model) -> dict[str, Any]:
    """The object that ``healthEntry`` in ``schemas/output.json`` describes."""
    pinned = None if model.snapshot.cached else workspace.sentinel(model.snapshot.folder)
    return {
        "name": model.name,
        "status": "healthy" if model.healthy else "unhealthy",
        "reason": model.problems[0].message if model.problems else "All files are there and complete.",
        "problems": problem_objects(model),
        "managed": pinned is not None and pinned.managed,
    }


def problem_objects(model: Model) -> list[dict[str, Any]]:
    return [{"code": problem.code, "message": problem.message, "path": problem.path} for problem in model.problems]


def _runtime(model: Model) -> dict[str, dict[str, Any]]:
    """For each modality that the model declares: whether it runs here, and if not, why."""
    broken = model.problems[0].message if model.problems else None
    reasons = {modality: broken or obstacle for modality, obstacle in model.runtime.items()}
    return {modality: {"compatible": reason is None, "reason": reason} for modality, reason in reasons.items()}


def _utc(seconds: float) -> str:
    """Within the years that a file's time can be written in."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(min(max(seconds, 0), 253402300799)))


def display_name(model: Model, *, in_full: bool) -> str:
    """As people know it: without mlx-community/, and a workspace by its folder."""
    if in_full:
        return model.name
    return model.name.removeprefix(_PREFIX) if model.snapshot.cached else model.name.rpartition("/")[2]


def short_hash(model: Model, content_hash: str | None) -> str:
    known = model.snapshot.commit or (content_hash or "").rpartition(":")[2]
    return known[:7] or "-"


def source(model: Model, clean: bool | None) -> str:
    """cache, ws (a workspace as it was made), ws* (changed since), ws? (nobody knows)."""
    if model.snapshot.cached:
        return "cache"
    return {True: "ws", False: "ws*", None: "ws?"}[clean]


def health(model: Model) -> tuple[str, Colour]:
    """In a word; with a star where the files are whole and it does not run here."""
    if not model.healthy:
        return "unhealthy", "red"
    return ("healthy", "green") if model.runnable else ("healthy*", "yellow")


def size(count_bytes: int) -> str:
    """Decimal units with one decimal: 1.2GB."""
    value = float(count_bytes)
    for unit in ("B", "KB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f}B" if unit == "B" else f"{value:.1f}{unit}"
        value /= 1000
    return f"{value:.1f}TB"


def age(then_s: float) -> str:
    """How long ago, in the largest whole unit; a date from 30 days on."""
    seconds = time.time() - then_s
    if seconds < 45:
        return "just now"
    if seconds < 3600:
        return f"{max(1, int(seconds // 60))}m ago"
    if seconds < 86400:
        return f"{int(seconds // 3600)}h ago"
    if seconds < 30 * 86400:
        return f"{int(seconds // 86400)}d ago"
    return _utc(then_s)[:10]


def kind(model: Model) -> str:
    """The type, and what it takes beside text: chat+vision."""
    beside = [capability for capability in ("vision", "audio") if capability in model.description.capabilities]
    return "+".join([model.description.kind, *(name for name in beside if name != model.description.kind)])
