"""Brings in the ML libraries as the tool wants them: quiet, off the network, and without reading their files twice."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

from mlxk import settings


def prepare() -> None:
    """To be called before any ML library is imported: they read variables, and import transformers, when they are."""
    settings.prepare_ml_libraries()
    _import_transformers()


def _import_transformers() -> None:
    """With caches that hold what is put in.

    transformers goes through the code of all its models twice to learn which names are in it, and remembers 128 of 500
    folders, the default of ``lru_cache``, so that nothing is remembered the second time. Reading the 3,286 files again is
    0.27 s, a quarter of what `mlxk run` takes with a tiny model. Measured with 5.23.
    """
    bounded = functools.lru_cache
    setattr(functools, "lru_cache", functools.partial(_unbounded, bounded))  # noqa: B010 - no type has a name for this
    try:
        importlib.import_module("transformers")
    finally:
        setattr(functools, "lru_cache", bounded)  # noqa: B010


def _unbounded(lru_cache: Callable[..., Any], maxsize: Any = 128, typed: bool = False) -> Any:
    """``lru_cache``, but that it forgets nothing where no bound was asked for: below a bare ``@lru_cache``."""
    return lru_cache(None)(maxsize) if callable(maxsize) else lru_cache(maxsize, typed)
