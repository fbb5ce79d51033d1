"""How a model is shown: as the JSON object of `list` and `show`, and in short words for tables."""

from __future__ import annotations

import time
from typing import Any

from mlxk.library import Model


def model_object(model: Model) -> dict[str, Any]:
    """The object that ``modelObject`` in ``schemas/output.json`` describes."""
    return {
        "name": model.name,
        "hash": model.snapshot.commit,
        "size_bytes": model.contents.size_bytes,
        "last_modified": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(model.contents.modified_s)),
        "framework": model.description.framework,
        "model_type": model.description.kind,
        "capabilities": list(model.description.capabilities),
        "health": "healthy" if model.healthy else "unhealthy",
        "runtime_compatible": model.runnable,
        "reason": model.reason,
        "cached": True,
        "context_length": model.description.context_length,
    }


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
    return time.strftime("%Y-%m-%d", time.localtime(then_s))


def kind(model: Model) -> str:
    """The type, and what it takes beside text: chat+vision."""
    beside = [capability for capability in ("vision", "audio") if capability in model.description.capabilities]
    return "+".join([model.description.kind, *(name for name in beside if name != model.description.kind)])
