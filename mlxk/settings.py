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


def hub_endpoint() -> str:
    """Where the Hub is: huggingface.co, or what HF_ENDPOINT names."""
    return os.environ.get("HF_ENDPOINT") or "https://huggingface.co"


def hub_token() -> str | None:
    """Who we are to the Hub: HF_TOKEN, else the older name of it, else the file that `hf auth login` writes."""
    if token := os.environ.get("HF_TOKEN") or os.environ.get("HUGGINGFACE_HUB_TOKEN"):
        return token.strip()
    home = Path(os.environ.get("HF_HOME") or hub_cache().parent).expanduser()
    try:
        return Path(os.environ.get("HF_TOKEN_PATH") or home / "token").read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def hub_offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def prepare_hub_client() -> None:
    """Keep the client from asking what we did not ask for; it reads these variables when it is imported."""
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["HF_HUB_DISABLE_UPDATE_CHECK"] = "1"
    os.environ["HF_HUB_DISABLE_IMPLICIT_TOKEN"] = "1"


def workspace_home() -> Path | None:
    """The folder whose sub-folders are workspaces, if the user has one."""
    home = os.environ.get("MLXK_WORKSPACE_HOME")
    return Path(home).expanduser().absolute() if home else None


def colour_wanted() -> bool:
    """Unless NO_COLOR says otherwise (https://no-color.org), or the terminal cannot show it."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def exif_wanted() -> bool:
    """Whether a table of what cameras noted is put before an answer."""
    return os.environ.get("MLXK2_EXIF_METADATA", "1") != "0"


def exif_context_wanted() -> bool:
    """Whether a model is told what cameras noted."""
    return os.environ.get("MLXK2_VISION_METADATA_CONTEXT", "1") != "0"


def segments_wanted() -> bool:
    """Whether a table of when what was said follows a transcript."""
    return os.environ.get("MLXK2_AUDIO_SEGMENTS", "") not in ("", "0")


def images_per_chunk() -> str | None:
    """How many images a model is shown at once where ``--chunk`` does not say; a word, as on the command line."""
    return os.environ.get("MLXK2_VISION_CHUNK_SIZE") or None


def debug() -> bool:
    """Whether a traceback may be shown."""
    return os.environ.get("MLXK2_DEBUG", "") not in ("", "0")


def server_defaults() -> dict[str, object]:
    """What the environment says of options of ``serve`` that are not given, by their names; words, as on the command line."""
    found: dict[str, object] = {name: said for name in ("port", "log_level", "max_tokens") if (said := _said(name))}
    found |= {name: value for name in ("host", "api_key") if (value := os.environ.get(f"MLXK2_{name.upper()}"))}
    if model := os.environ.get("MLXK2_PRELOAD_MODEL"):
        found["model"] = model
    if os.environ.get("MLXK2_LOG_JSON", "") not in ("", "0"):
        found["log_json"] = True
    return found


class _Said(str):
    """The word of a variable, until it is understood. An error that shows it with ``!r`` tells whose it is."""

    variable: str

    def __repr__(self) -> str:
        return f"{super().__repr__()}, as {self.variable} says,"


def _said(option: str) -> _Said:
    variable = f"MLXK2_{option.upper()}"
    word = _Said(os.environ.get(variable, ""))
    word.variable = variable
    return word


def prepare_ml_libraries() -> None:
    """Keep the libraries quiet and off the network; they read these variables when they are imported."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")  # or NumPy's threads are busy for 0.1 s before they wait for work
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
