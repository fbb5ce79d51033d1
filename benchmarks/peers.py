"""The programs that we are measured beside: each in an environment of its own, in the versions that ours uses."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

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

    Raises ``CalledProcessError`` where the package index does not give what it needs.
    """
    requirements = PEERS[name]
    where = HOME / f"{name}-{sys.version_info.major}.{sys.version_info.minor}"
    ready = where / "ready"
    wanted = hashlib.sha256("\n".join((sys.version, *requirements)).encode() + CONSTRAINTS.read_bytes()).hexdigest()
    if not ready.is_file() or ready.read_text(encoding="utf-8") != wanted:
        shutil.rmtree(where, ignore_errors=True)
        print(f"making the environment of {name}", file=sys.stderr)
        _make(where, requirements)
        ready.write_text(wanted, encoding="utf-8")
    return where / "bin"


def _make(where: Path, requirements: tuple[str, ...]) -> None:
    uv = _uv()
    if uv:
        subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, where], check=True)
        install = [*uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", where / "bin" / "python"]
    else:
        subprocess.run([sys.executable, "-m", "venv", where], check=True)
        install = [where / "bin" / "python", "-m", "pip", "install", "--quiet"]
    subprocess.run([*install, "-c", CONSTRAINTS, *requirements], check=True)


def _uv() -> list[str]:
    """The command of uv, which takes seconds where pip takes minutes; empty where there is none."""
    if importlib.util.find_spec("uv"):
        return [sys.executable, "-m", "uv"]
    found = shutil.which("uv")
    return [found] if found else []
