"""The environment: the only module that reads it, or writes it for the libraries we load."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def hub_cache() -> Path:
    """The directory with the ``models--org--name`` folders, found as huggingface_hub finds it."""
    if explicit := os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(explicit).expanduser()
    if home := os.environ.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return base / "huggingface" / "hub"


def workspace_home() -> Path | None:
    """The folder whose sub-folders are workspaces, if the user has one."""
    home = os.environ.get("MLXK_WORKSPACE_HOME")
    return Path(home).expanduser().absolute() if home else None


def colour_wanted() -> bool:
    """Unless NO_COLOR says otherwise (https://no-color.org), or the terminal cannot show it."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def debug() -> bool:
    """Whether a traceback may be shown."""
    return os.environ.get("MLXK2_DEBUG", "") not in ("", "0")


def prepare_ml_libraries() -> None:
    """Keep the libraries quiet and off the network; they read these variables when they are imported."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    _choose_compilation()


def _choose_compilation() -> None:
    """Where MLX computes on a CPU, leave its functions unfused, unless MLX_DISABLE_COMPILE=0 asks for them.

    To fuse them it calls g++ and keeps what comes of it in TMPDIR: the first run of a tiny llama takes 5.2 s of processor time
    instead of 1.9 s, and each later one loads libraries from a folder that others may write to. A fused activation of 4864
    numbers is no faster there (0.20 ms both). MLX itself asks only whether the variable is there, and takes 0 for yes.
    """
    wanted = os.environ.get("MLX_DISABLE_COMPILE", "0" if _has_gpu_backend() else "1")
    if wanted in ("", "0"):
        os.environ.pop("MLX_DISABLE_COMPILE", None)
    else:
        os.environ["MLX_DISABLE_COMPILE"] = wanted


def _has_gpu_backend() -> bool:
    """macOS has Metal; elsewhere MLX's backend for a GPU is a distribution of its own."""
    return sys.platform == "darwin" or any(map(_is_installed, ("mlx-cuda-12", "mlx-cuda-13")))


def _is_installed(distribution: str) -> bool:
    from importlib import metadata  # noqa: PLC0415 - takes 20 ms to import, and is needed beside an ML library only

    try:
        metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True
