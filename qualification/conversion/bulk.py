"""Converts a folder of scripts: one result for each, and no script's trouble is another's."""

from __future__ import annotations

import os
import tempfile
import tokenize
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from qualification.conversion import evidence, tasks, template
from qualification.conversion.evidence import Findings, NotConvertibleError
from qualification.errors import UsageError

_MANY = 64
"""From so many scripts on, other processes are worth their start."""

Status = Literal["converted", "kept", "refused"]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one script. ``findings`` are there unless it was refused, whose ``reason`` is."""

    script: Path
    status: Status
    target: Path | None = None
    findings: Findings | None = None
    reason: str = ""

    @property
    def backend(self) -> str | None:
        """What runs its task on MLX."""
        return tasks.BACKENDS.get(self.findings.task.value) if self.findings else None


def scripts(folder: Path, pattern: str, limit: int | None = None) -> list[Path]:
    """The scripts of a folder by name, its subfolders left out. Raises ``UsageError`` where there is no such folder."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; --input-dir names the one with the legacy tests")
    if "/" in pattern or not pattern:
        raise UsageError(f"--pattern {pattern!r} is no pattern of file names; it is one such as 'test_hf_gpt*.py'")
    return sorted(path for path in folder.glob(pattern) if path.is_file() and not path.stem.endswith("_improved"))[:limit]


def convert(found: Sequence[Path], output: Path, *, overwrite: bool) -> Iterator[Result]:
    """Converts each, on every core where there are many, and tells in their order as it goes.

    What is there already is kept, unless ``overwrite``.
    """
    handle = partial(_handle, output=output, overwrite=overwrite)
    if len(found) < _MANY:
        yield from map(handle, found)
        return
    with ProcessPoolExecutor() as pool:
        yield from pool.map(handle, found, chunksize=_MANY // 4)


def _handle(script: Path, output: Path, overwrite: bool) -> Result:
    target = output / f"{script.stem}_improved.py"
    if target.exists() and not overwrite:
        return Result(script, "kept", target, reason=f"{target.name} is there; --overwrite replaces it")
    return _one(script, target)


def _one(script: Path, target: Path) -> Result:
    try:
        with tokenize.open(script) as file:
            source = file.read()
        findings = evidence.find(source, script.stem)
        _write(target, template.render(script.name, findings))
    except NotConvertibleError as error:
        return Result(script, "refused", reason=str(error))
    except (UnicodeDecodeError, SyntaxError) as error:  # a wrong coding line is a SyntaxError
        return Result(script, "refused", reason=f"its text cannot be decoded ({error})")
    except OSError as error:
        return Result(script, "refused", reason=f"{error.strerror}: {error.filename}")
    return Result(script, "converted", target, findings)


def _write(target: Path, text: str) -> None:
    """The whole file or none of it."""
    descriptor, written = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(written).chmod(0o644)
        Path(written).replace(target)
    except BaseException:
        Path(written).unlink(missing_ok=True)
        raise
