"""The examiner's one error tree; every message is a sentence that a person can act on.

QualificationError            exit 1   the operation failed
├── UsageError                exit 2   an argument, a file or a matrix is wrong
│   └── MatrixError           exit 2   with file and line
├── MintError                 exit 1   a minted model is not what its recipe promises
├── EnvironmentUnfitError     exit 1   the environment under test is not what the plan says
├── BaselineError             exit 1   a store of baselines cannot be read or written
└── BundleError               exit 3   a bundle is damaged or does not belong to its plan
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

_LISTED = 12


class QualificationError(Exception):
    """Base of every error that the examiner reports by itself."""

    exit_code = 1


class UsageError(QualificationError):
    """What was asked for does not exist or contradicts itself."""

    exit_code = 2


class MatrixError(UsageError):
    """A matrix that says something the schema does not know; carries file and line (1-based)."""

    def __init__(self, path: Path, line: int, sentence: str) -> None:
        super().__init__(f"{path}:{line}: {sentence}")
        self.path = path
        self.line = line


class MintError(QualificationError):
    """A minted model failed its own check, so it is not published."""


class EnvironmentUnfitError(QualificationError):
    """The environment of a cell holds something else than the plan's wheel."""


class BaselineError(QualificationError):
    """A store of baselines is not one, or cannot be written; it was left as it is."""


class BundleError(QualificationError):
    """A run's directory was changed after it was written, or is not one."""

    exit_code = 3


def nearest(name: str, valid: Iterable[str]) -> str:
    """``; did you mean 'x'?`` where one of ``valid`` is close, else what is valid, as far as a person wants to read."""
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"; valid here: {', '.join(names[:_LISTED]) or 'nothing'}{more}"
