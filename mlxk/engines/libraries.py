"""Brings in the ML libraries as the tool wants them: quiet, off the network, and without reading their files in vain."""

from __future__ import annotations

import functools
import importlib

from mlxk import interrupts, settings
from mlxk.engines import exports


def prepare() -> None:
    """To be called before any ML library is imported: they read variables, and import transformers, when they are."""
    settings.prepare_ml_libraries()
    interrupts.import_undisturbed("filelock")  # on Python 3.10 it tries out links, in a temporary folder
    _import_transformers()


def _import_transformers() -> None:
    """With a memory of what is in its files, which hangs on the ``lru_cache`` that it means to have one by."""
    bounded = functools.lru_cache
    setattr(functools, "lru_cache", exports.remembering(bounded))  # noqa: B010 - no type has a name for this
    try:
        importlib.import_module("transformers")
    finally:
        setattr(functools, "lru_cache", bounded)  # noqa: B010
