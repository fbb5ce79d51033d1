"""A finished run as a file that others can compute with: every sample, what follows from it, and what it was measured on."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from importlib import metadata
from typing import Any

from figures import Row

from qualification import machine

PACKAGES = ("mlxk", "mlx", "mlx-lm", "mlx-vlm", "mlx-audio", "huggingface-hub", "waitress", "bottle")


def document(rows: Sequence[Row], failed: Sequence[str], rounds: int) -> dict[str, Any]:
    """``rows`` with samples in their unit; ``failed`` says which families were not measured to their end, and why."""
    return {
        "benchmark": 1,
        "measured_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": asdict(machine.observe()),
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
        "load_average": os.getloadavg()[0],
        "rounds": rounds,
        "failed": list(failed),
        "rows": [_row(row) for row in rows],
    }


def described(measured: dict[str, Any]) -> str:
    """The machine and the versions in two sentences, without anything that names its owner."""
    here, versions = measured["machine"], measured["versions"]
    told = ", ".join(f"{name} {version}" for name, version in versions.items())
    ram = here["ram_bytes"] / (1 << 30)
    return (
        f"{here['system']} on {here['architecture']}, {here['processor']}, {here['cores']} cores, {ram:.0f} GiB.\n"
        f"Python {measured['python']}, {told}.\n"
        f"The load was {measured['load_average']:.1f} when it ended; above 1, only ratios and processor time mean much."
    )


def _row(row: Row) -> dict[str, Any]:
    derived = {"figure": row.figure, "reference_figure": row.reference_figure, "ratio": row.ratio, "interval": row.interval}
    return {**asdict(row), **derived, "difference": row.difference, "met": row.met}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
