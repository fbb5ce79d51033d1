"""Whether a machine is fit to examine anything on: disk, swap, load and libraries, as pure functions of facts."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil

from qualification import memory, settings
from qualification.units import format_bytes

_DISK_BYTES = 2 << 30
"""A cell's logs, its minted model and what its tests write."""
_SWAP_SHARE = 0.25
_LOAD_PER_CORE = 16
"""Above these every limit of time measures the machine and not the tests."""
_QUIET_SWAP_BYTES = 100 * 10**6
_QUIET_BUSY_SHARE = 0.2
"""Above these a measurement is not worth keeping: rules of thumb of earlier releases' benchmarks."""
_BUSY_INTERVAL_S = 0.5


@dataclass(frozen=True, slots=True)
class Host:
    """Facts of one moment. ``busy_share`` is the share of all cores in use, 0 where nobody asked; ``mlx`` are the
    distributions of that name in the environment under test, None where nobody looked.
    """

    disk_free_bytes: int
    swap_used_bytes: int
    ram_bytes: int
    load_1: float
    cores: int
    busy_share: float = 0.0
    mlx: tuple[str, ...] | None = None


def observe(cores: int, python: Path | None, measuring: bool) -> Host:
    """This machine now; ``measuring`` takes half a second to see how busy it is."""
    return Host(
        disk_free_bytes=shutil.disk_usage(settings.scratch()).free,
        swap_used_bytes=psutil.swap_memory().used,
        ram_bytes=memory.total_bytes(),
        load_1=psutil.getloadavg()[0],
        cores=cores,
        busy_share=psutil.cpu_percent(_BUSY_INTERVAL_S) / 100 if measuring else 0.0,
        mlx=_distributions(python, "mlx") if python else None,
    )


def problem(host: Host, runs_model: bool) -> str:
    """The first thing that makes it unfit, as a sentence; empty when it is fit."""
    if host.disk_free_bytes < _DISK_BYTES:
        return f"{format_bytes(host.disk_free_bytes)} are free where cells work, and they need {format_bytes(_DISK_BYTES)}"
    if host.swap_used_bytes > _SWAP_SHARE * host.ram_bytes:
        return f"{format_bytes(host.swap_used_bytes)} are swapped out, more than a quarter of the memory"
    if host.load_1 > _LOAD_PER_CORE * host.cores:
        return f"the load is {host.load_1:.0f} on {host.cores} cores"
    if runs_model and host.mlx is not None and len(host.mlx) != 1:
        return f"the environment holds {len(host.mlx)} distributions of mlx ({', '.join(host.mlx) or 'none'}) instead of one"
    return ""


def noise(host: Host) -> str:
    """The first thing that would spoil a measurement; empty when the machine is quiet."""
    if host.swap_used_bytes > _QUIET_SWAP_BYTES:
        return f"{format_bytes(host.swap_used_bytes)} are swapped out, and a measurement allows 100 MB"
    if host.busy_share > _QUIET_BUSY_SHARE:
        return f"{host.busy_share:.0%} of the machine is in use, and a measurement allows {_QUIET_BUSY_SHARE:.0%}"
    return ""


def _distributions(python: Path, name: str) -> tuple[str, ...]:
    """``mlx-0.31.2`` and the like, from all directories that this interpreter would import from."""
    found = python.parent.parent.glob(f"lib*/python3.*/site-packages/{name}-*.dist-info")
    return tuple(sorted({path.name.removesuffix(".dist-info") for path in found}))
