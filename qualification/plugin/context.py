"""What the runner tells the pytest process of the cell that it is."""

from __future__ import annotations

import faulthandler
import importlib.util
import json
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qualification import kinship, settings

if TYPE_CHECKING:
    from qualification.declared import Metric
    from qualification.performance.environments import Side
    from qualification.portfolio import Model


@dataclass(frozen=True, slots=True)
class Share:
    """Part ``part`` (from 0) of ``parts``, of the tests in the order that ``seed`` gives."""

    seed: int
    part: int
    parts: int


@dataclass(frozen=True, slots=True)
class Cell:
    """The cell of this process; ``project`` is the checkout that the tests, and nothing else, come from."""

    run: str
    cell: str
    attempt: int
    python: str
    dependencies: str
    model: Model | None
    progress: Path
    project: Path
    reruns: int = 0
    share: Share | None = None
    sides: tuple[Side, ...] = ()
    """The release before, and the one that is examined, where the cell compares them."""
    metrics: tuple[Metric, ...] = ()

    @staticmethod
    def load(path: Path) -> Cell:
        content = json.loads(path.read_text(encoding="utf-8"))
        model = content.pop("model")
        if model:
            from qualification.portfolio import Model  # noqa: PLC0415 - and with it all that a matrix declares

            model = Model(**model)
        if content.get("sides"):
            from qualification.declared import Metric  # noqa: PLC0415 - likewise
            from qualification.performance.environments import Side  # noqa: PLC0415

            sides = [Side(Path(side["wheel"]), side["sha256"], Path(side["root"])) for side in content["sides"]]
            content |= {"sides": tuple(sides), "metrics": tuple(Metric(**metric) for metric in content["metrics"])}
        paths = {name: Path(content[name]) for name in ("progress", "project")}
        return Cell(**{**content, **paths, "model": model, "share": Share(**content["share"]) if content["share"] else None})


_ORPHAN_CHECK_S = 0.5

CELL = pytest.StashKey["Cell | None"]()


def obey_supervisor() -> None:
    """SIGUSR1 writes the stacks of all threads, and this process ends when its supervisor is gone.

    The supervisor, or the process above it, stops the cell in every case but one: when both are killed by force. The stacks go
    to a copy of stderr, because pytest puts the original aside while a test runs.
    """
    log = os.fdopen(os.dup(sys.__stderr__.fileno() if sys.__stderr__ else 2), "w", encoding="utf-8")
    faulthandler.register(signal.SIGUSR1, file=log, all_threads=True)
    if not kinship.end_with_parent():
        threading.Thread(target=_end_when_orphaned, args=(os.getppid(),), name="orphan-watch", daemon=True).start()


def _end_when_orphaned(supervisor: int) -> None:
    while os.getppid() == supervisor:
        time.sleep(_ORPHAN_CHECK_S)
    from qualification import processes  # noqa: PLC0415 - psutil, for the rare end

    processes.sweep(settings.whole()[processes.TOKEN], below=True)
    os.killpg(0, signal.SIGKILL)


def refuse_checkout(cell: Cell) -> None:
    """Raises UsageError where the packages would come from the checkout: what is released is the wheel."""
    for package in ("mlxk", "qualification"):
        found = importlib.util.find_spec(package)
        if found and found.origin and Path(found.origin).resolve().parent == (cell.project / package).resolve():
            raise pytest.UsageError(f"{package} would be imported from the checkout {cell.project}; install the wheel")
