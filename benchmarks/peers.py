"""The programs that we are measured beside: each in an environment of its own, in the versions that ours uses."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from qualification.performance import environments

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "qualification" / "constraints.txt"
HOME = ROOT / ".nox" / "peers"

CPU_BACKEND = "mlx[cpu]; sys_platform == 'linux'"
"""The ML packages ask for MLX on macOS only."""

PEERS = {
    "huggingface_hub": ("huggingface_hub",),
    "mlx-lm": ("mlx-lm", CPU_BACKEND),
    "mlx-vlm": ("mlx-vlm", CPU_BACKEND),
    "mlx-audio": ("mlx-audio", CPU_BACKEND),
}


def environment(name: str) -> Path:
    """The ``bin`` folder of the peer's environment, made when it is not there or not of today's versions.

    Raises ``EnvironmentUnfitError`` where the package index does not give what it needs.
    """
    requirements = PEERS[name]
    where = HOME / f"{name}-{sys.version_info.major}.{sys.version_info.minor}"
    ready = where / "ready"
    wanted = hashlib.sha256("\n".join((sys.version, *requirements)).encode() + CONSTRAINTS.read_bytes()).hexdigest()
    if not ready.is_file() or ready.read_text(encoding="utf-8") != wanted:
        print(f"making the environment of {name}", file=sys.stderr)
        environments.install(where, requirements, CONSTRAINTS)
        ready.write_text(wanted, encoding="utf-8")
    return where / "bin"
