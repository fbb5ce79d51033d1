"""Where tests leave a document of what they found, beside the records: in the run's bundle, or below ``reports/``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qualification.bundle import Bundle
from qualification.plugin.context import CELL


class Findings:
    """A document by keys, written as a whole at the end to ``place``."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._found: dict[str, Any] = {}

    def __setitem__(self, key: str, value: Any) -> None:
        self._found[key] = value

    def write(self) -> None:
        """Where nothing was found, nothing is written."""
        if self._found:
            self.place.parent.mkdir(parents=True, exist_ok=True)
            self.place.write_text(json.dumps(self._found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def place_of(config: pytest.Config, name: str) -> Path:
    """Below ``reports/`` of the working directory; in a cell among its bundle's logs, which are sealed, under the cell's name."""
    cell = config.stash[CELL]
    tests = config.getoption("--report-output")
    if cell is None or tests is None:
        return Path("reports") / name
    return Bundle(Path(tests).resolve().parent).document(cell.cell, cell.attempt, name)
