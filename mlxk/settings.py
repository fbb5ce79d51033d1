"""The environment: the only module that reads it, or writes it for the libraries we load."""

from __future__ import annotations

import os
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
