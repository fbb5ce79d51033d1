"""What earlier runs on this machine tell of cells and models: how long they took, and how much memory they held."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

_RUNS = 20
"""So many of the latest bundles are read; what is older tells of another tool."""


@dataclass(frozen=True, slots=True)
class History:
    """Seconds by cell id (the median of its runs), and the largest peak in bytes by model and revision."""

    seconds: Mapping[str, float] = field(default_factory=dict)
    peaks: Mapping[tuple[str, str | None], int] = field(default_factory=dict)


def read(reports: Path) -> History:
    """Of the bundles below ``reports``; one that is damaged tells nothing, for this is an estimate and no evidence."""
    seconds: dict[str, list[float]] = {}
    peaks: dict[tuple[str, str | None], int] = {}
    bundles = sorted((path.parent for path in reports.glob("*/plan.json") if not path.parent.is_symlink()), reverse=True)
    for bundle in bundles[:_RUNS]:
        models = _models(bundle / "plan.json")
        for event in _passed(bundle / "journal.jsonl"):
            seconds.setdefault(event["cell"], []).append(event["duration_s"])
            if model := models.get(event["cell"]):
                peaks[model] = max(peaks.get(model, 0), event["peak_bytes"])
    return History({cell: median(took) for cell, took in seconds.items()}, peaks)


def _models(plan: Path) -> dict[str, tuple[str, str | None]]:
    try:
        cells = json.loads(plan.read_text(encoding="utf-8"))["cells"]
        return {cell["id"]: (cell["model"]["model_id"], cell["model"]["revision"]) for cell in cells if cell["model"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _passed(journal: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = journal.read_bytes().splitlines()
    except OSError:
        return
    for line in lines:
        try:
            event = json.loads(line)
            if (event["event"], event.get("outcome")) == ("cell_finished", "passed"):
                cell, duration_s, peak_bytes = event["cell"], event["duration_s"], event["peak_bytes"]
                yield {"cell": str(cell), "duration_s": float(duration_s), "peak_bytes": int(peak_bytes)}
        except (ValueError, KeyError, TypeError):
            continue
