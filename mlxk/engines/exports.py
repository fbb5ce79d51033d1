"""Remembers which names the code of transformers holds, as Python remembers bytecode: in its cache, until a file changes.

Whenever it is imported, transformers reads the 2,500 files of its models, 45 MB, and twice, to learn what names are in them. Once
is a quarter of the processor time that ``mlxk run`` takes with a tiny model. To see that no file has changed takes a fifteenth of
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
from operator import attrgetter
from pathlib import Path
from typing import Any

_TELLER = "define_import_structure"
"""The function of transformers, with an ``lru_cache``, that has a folder read and tells what is in it by the names of modules."""


def remembering(lru_cache: Callable[..., Any]) -> Callable[..., Any]:
    """``lru_cache`` for all but the function that tells of the models' files, which gets a memory that outlives the process."""

    def decorate(*arguments: Any, **options: Any) -> Any:
        is_teller = bool(arguments) and getattr(arguments[0], "__name__", "") == _TELLER
        return _remembered(lru_cache(arguments[0])) if is_teller else lru_cache(*arguments, **options)

    return decorate


def _remembered(tell: Callable[[str, str | None], Any]) -> Callable[..., Any]:
    """``tell`` with a memory of all models that outlives the process."""
    state_of = functools.cache(_state)

    @functools.cache
    def all_of(models: str, prefix: str | None) -> Any:
        file, state = _file(prefix or ""), state_of(models)
        with suppress(OSError, ValueError, EOFError, TypeError):  # none yet, or not ours
            known, structure = marshal.loads(file.read_bytes())
            if known == state:
                return structure
        structure = tell(models, prefix)
        if not sys.dont_write_bytecode:
            _keep(file, marshal.dumps((state, structure)))
        return structure

    def define_import_structure(module_path: str, prefix: str | None = None) -> Any:
        folder = os.path.dirname(module_path) if os.path.isfile(module_path) else os.fspath(module_path)  # noqa: PTH113, PTH120
        return all_of(folder, prefix) if folder.endswith("models") else tell(module_path, prefix)

    return define_import_structure


def _file(prefix: str) -> Path:
    """Beside the bytecode of this module, wherever Python keeps that; names that begin with ``prefix`` have one of their own."""
    return Path(importlib.util.cache_from_source(__file__)).with_suffix(f".transformers{prefix and '-'}{prefix}")


def _state(folder: str) -> str:
    """Another one where any file of ``folder`` is another one, by name, size and time, as Python tells it of bytecode."""
    digest = hashlib.blake2b(digest_size=16)
    folders = [folder]
    while folders:
        parent = folders.pop()
        digest.update(f"{parent}\n".encode(errors="surrogateescape"))
        with os.scandir(parent) as found:
            entries = sorted(found, key=attrgetter("name"))
        for entry in entries:
            if entry.is_dir():
                folders += [entry.path] if entry.name != "__pycache__" else []
            else:
                about = entry.stat()
                digest.update(f"{entry.name} {about.st_size} {about.st_mtime_ns}\n".encode(errors="surrogateescape"))
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
