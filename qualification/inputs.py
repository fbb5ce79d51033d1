"""Hashes what a result depends on, and says what of it has changed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from qualification.plan import Inputs, hash_tree

_WORDS = {
    "matrix_sha256": "the matrix",
    "tests_sha256": "the tests or their settings",
    "constraints_sha256": "the pinned versions",
    "wheel": "the wheel's name",
    "wheel_sha256": "the wheel",
    "base": "the release that it is compared with",
    "base_sha256": "the release that it is compared with",
}


def read(
    project: Path,
    tests: Sequence[str],
    matrix_sha256: str,
    wheel: Path | None,
    constraints: Path | None,
    base: Path | None = None,
) -> Inputs:
    """The inputs as they are now; ``tests`` are paths below ``project``."""
    return Inputs(
        matrix_sha256=matrix_sha256,
        tests_sha256=hash_tree(project, [*tests, *_shared(project, tests)]),
        constraints_sha256=_sha256(constraints),
        wheel=wheel.name if wheel else None,
        wheel_sha256=_sha256(wheel),
        base=base.name if base else None,
        base_sha256=_sha256(base),
    )


def changed(planned: Inputs, now: Inputs) -> tuple[str, ...]:
    """What differs, in words; empty when a result obtained now belongs to the plan."""
    differing = (field.name for field in fields(Inputs) if getattr(planned, field.name) != getattr(now, field.name))
    return tuple(dict.fromkeys(_WORDS[name] for name in differing))


def _shared(project: Path, tests: Sequence[str]) -> list[str]:
    """What pytest reads beside the tests themselves: the project's settings, and every conftest.py above a path."""
    above = {parent / "conftest.py" for path in tests for parent in Path(path).parents}
    return [name for name in ("pyproject.toml", *map(str, sorted(above))) if (project / name).is_file()]


def _sha256(path: Path | None) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path else None
