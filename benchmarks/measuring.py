"""How figures are measured: in pairs, in an order that is turned round every second time, by wall clock or processor time."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

Figure = TypeVar("Figure")

_FOUND = dict(os.environ)
"""A row that uses the engine in this process sets variables that are no command's affair, such as that the Hub is not asked."""

LIMIT_S = 300
"""No command of a benchmark takes longer than this; one that does has failed."""


def paired(
    rounds: int, ours: Callable[[], Figure], reference: Callable[[], Figure]
) -> tuple[tuple[Figure, ...], tuple[Figure, ...]]:
    """``rounds`` samples of each, interleaved as ABBA, after one unmeasured round."""
    ours(), reference()
    mine, theirs = [], []
    for number in range(rounds):
        if number % 2:
            theirs.append(reference())
            mine.append(ours())
        else:
            mine.append(ours())
            theirs.append(reference())
    return tuple(mine), tuple(theirs)


def wall(action: Callable[[], object]) -> float:
    """Seconds that ``action`` takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def wall_of(argv: Sequence[str | Path], **environment: str) -> float:
    """Seconds from the start of a command to its end. Raises ``CalledProcessError`` where it fails."""
    return wall(lambda: run(argv, **environment))


def cpu_of(argv: Sequence[str | Path], **environment: str) -> float:
    """User and system seconds of a command and its children, which other work on the machine disturbs least."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run(argv, **environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def run(argv: Sequence[str | Path], **environment: str) -> None:
    subprocess.run(
        argv, env={**_FOUND, **environment}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True, timeout=LIMIT_S
    )
