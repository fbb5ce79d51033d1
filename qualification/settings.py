"""The environment variables that the examiner reads; no other module of the package reads one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def mint_root() -> Path:
    """Where minted models are kept: ``$QUALIFICATION_MINT_ROOT``, else below the user's cache directory."""
    explicit = os.environ.get("QUALIFICATION_MINT_ROOT")
    if explicit:
        return Path(explicit).expanduser().absolute()
    return _cache_home() / "mlxk-qualification" / "mint"


def hf_home() -> Path:
    """The user's Hugging Face home: ``$HF_HOME``, else the client's default."""
    explicit = os.environ.get("HF_HOME")
    return Path(explicit).expanduser().absolute() if explicit else _cache_home() / "huggingface"


def copied_hf_home() -> Path:
    """Whose models tests copy: ``$MLXK2_USER_HF_HOME``, else the user's."""
    explicit = os.environ.get("MLXK2_USER_HF_HOME")
    return Path(explicit).expanduser().absolute() if explicit else hf_home()


def scratch() -> Path:
    """Where this process puts temporary files: in a cell, a directory of its own."""
    return Path(os.environ.get("TMPDIR") or tempfile.gettempdir())


def whole() -> dict[str, str]:
    """All variables of this process, for a child that is to see what we see."""
    return dict(os.environ)


def search_path() -> list[Path]:
    """The directories in which commands are looked for."""
    return [Path(directory) for directory in os.get_exec_path()]


def secrets() -> list[str]:
    """Values of variables that hold a token of the user's."""
    return [value for name in ("HF_TOKEN", "HUGGINGFACE_HUB_TOKEN", "HUGGING_FACE_HUB_TOKEN") if (value := os.environ.get(name))]


def step_summary() -> Path | None:
    """``$GITHUB_STEP_SUMMARY``: the file that GitHub shows on the page of a workflow's run."""
    explicit = os.environ.get("GITHUB_STEP_SUMMARY")
    return Path(explicit) if explicit else None


def pyenv_root() -> Path:
    """``$PYENV_ROOT``, else where pyenv puts itself."""
    return Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")


def live() -> dict[str, str]:
    """What leads to the real Hub, and the switches of live tests: for cells whose group says that it needs them."""
    return {name: value for name, value in os.environ.items() if name in _LIVE or name.startswith("MLXK2_")}


def inherited() -> dict[str, str]:
    """The variables of this process that a cell may see: locale, loader and interpreter lookup, never a token."""
    return {name: value for name, value in os.environ.items() if name in _HANDED_DOWN}


def _cache_home() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


_HANDED_DOWN = frozenset(
    {"PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TERM", "SHELL"}
    | {"LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "QUALIFICATION_MINT_ROOT", "XDG_CACHE_HOME"}
)

_LIVE = frozenset({"HF_TOKEN", "HF_ENDPOINT", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "SSL_CERT_FILE"})
