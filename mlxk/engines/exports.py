"""Remembers which names the code of transformers holds, as Python remembers bytecode: in its cache, until a file changes.

Whenever it is imported, transformers reads the 2,500 files of its models, 45 MB, and twice, to learn what names are in them. Once
is a quarter of the processor time that ``mlxk run`` takes with a tiny model. To see that no file has changed takes a tenth of
that. Measured with 5.23.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import marshal
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

_READER = "create_import_structure_from_path"
"""The function of transformers, with an ``lru_cache`` of 128 entries, that calls itself for each of 550 folders."""


def remembering(lru_cache: Callable[..., Any]) -> Callable[..., Any]:
    """``lru_cache`` for all but the function that reads the models' files, which gets a memory that outlives the process."""

    def decorate(*arguments: Any, **options: Any) -> Any:
        is_reader = bool(arguments) and getattr(arguments[0], "__name__", "") == _READER
        return _remembered(lru_cache(None)(arguments[0])) if is_reader else lru_cache(*arguments, **options)

    return decorate


def _remembered(read: Callable[[str], Any]) -> Callable[[str], Any]:
    @functools.cache
    def all_of(models: str) -> Any:
        file, state = _file(), _state(models)
        with suppress(OSError, ValueError, EOFError, TypeError):  # none yet, or not ours
            known, structure = marshal.loads(file.read_bytes())
            if known == state:
                return structure
        structure = read(models)
        if not sys.dont_write_bytecode:
            _keep(file, marshal.dumps((state, structure)))
        return structure

    def create_import_structure_from_path(module_path: str) -> Any:
        folder = os.path.dirname(module_path) if os.path.isfile(module_path) else os.fspath(module_path)  # noqa: PTH113, PTH120
        return all_of(folder) if folder.endswith("models") else read(folder)

    return create_import_structure_from_path


def _file() -> Path:
    """Beside the bytecode of this module, wherever Python keeps that."""
    return Path(importlib.util.cache_from_source(__file__)).with_suffix(".transformers")


def _state(folder: str) -> str:
    """Another one where any file of ``folder`` is another one, by name, size and time, as Python tells it of bytecode."""
    digest = hashlib.blake2b(folder.encode(errors="surrogateescape"), digest_size=16)
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(names):
            found = os.stat(f"{parent}/{name}")  # noqa: PTH116 - of thousands
            digest.update(f"{parent}/{name} {found.st_size} {found.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _keep(file: Path, content: bytes) -> None:
    """Whole or not at all; where nothing can be written, as Python does without bytecode, not at all."""
    partial = file.with_suffix(f".{os.getpid()}")
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.write_bytes(content)
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)
