"""What the runner tells the pytest process of the cell that it is."""

from __future__ import annotations

import faulthandler
import importlib.util
import json
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from qualification.portfolio import Model


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

    @staticmethod
    def load(path: Path) -> Cell:
        content = json.loads(path.read_text(encoding="utf-8"))
        model = Model(**content.pop("model")) if content["model"] else content.pop("model")
        return Cell(**{**content, "model": model, "progress": Path(content["progress"]), "project": Path(content["project"])})


CELL = pytest.StashKey["Cell | None"]()


def refuse_checkout(cell: Cell) -> None:
    """Raises UsageError where the packages would come from the checkout: what is released is the wheel.

    Also makes SIGUSR1 write the stacks of all threads, which is what the supervisor asks of a process that hangs.
    """
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    for package in ("mlxk", "qualification"):
        found = importlib.util.find_spec(package)
        if found and found.origin and Path(found.origin).resolve().parent == (cell.project / package).resolve():
            raise pytest.UsageError(f"{package} would be imported from the checkout {cell.project}; install the wheel")
