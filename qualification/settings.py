"""The environment variables that the examiner reads; no other module of the package reads one."""

from __future__ import annotations

import os
from pathlib import Path


def mint_root() -> Path:
    """Where minted models are kept: ``$QUALIFICATION_MINT_ROOT``, else below the user's cache directory."""
    explicit = os.environ.get("QUALIFICATION_MINT_ROOT")
    if explicit:
        return Path(explicit)
    return _cache_home() / "mlxk-qualification" / "mint"


def hf_home() -> Path:
    """The user's Hugging Face home: ``$HF_HOME``, else the client's default."""
    explicit = os.environ.get("HF_HOME")
    return Path(explicit) if explicit else _cache_home() / "huggingface"


def inherited() -> dict[str, str]:
    """The variables of this process that a cell may see: locale, loader and interpreter lookup, never a token."""
    return {name: value for name, value in os.environ.items() if name in _HANDED_DOWN}


def _cache_home() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


_HANDED_DOWN = frozenset(
    {"PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TERM", "USER", "LOGNAME", "SHELL"}
    | {"LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "QUALIFICATION_MINT_ROOT", "XDG_CACHE_HOME"}
)
