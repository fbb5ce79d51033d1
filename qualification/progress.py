"""What a run looks like while it runs: a line for each thing that happens, and on a terminal a table with the time left."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from qualification.debt import Debt
from qualification.plan import Cell
from qualification.units import format_seconds

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_SHOWN = 12
"""Cells below each other, so that the table fits a small window."""


class Watch(Protocol):
    """Whoever wants to see a run; called from several threads."""

    def planned(self, cells: Sequence[Cell]) -> None: ...

    def began(self, cell: Cell) -> None: ...

    def ended(self, cell: Cell, word: str, sentence: str) -> None:
        """``word`` is its outcome or the reason code that kept it from running; ``sentence`` says more."""


def seconds_left(
    waiting: Sequence[Cell], running: Mapping[str, float], seconds: Mapping[str, float], at_once: int
) -> float | None:
    """How long the rest takes; None where no cell of it, nor one of the same group, ever ran.

    ``running`` gives how long each cell that has begun has run already. ``at_once`` is how many run beside each other.
    """
    rest = 0.0
    known = False
    for cell in waiting:
        took = Debt.of("", [cell], seconds).seconds
        known = known or took > 0
        rest += max(0.0, took - running.get(cell.id, 0.0)) / (at_once if cell.beside else 1)
    return rest if known else None


class Lines:
    """One line when a cell begins, and one when it ends; with what is left where that is known."""

    def __init__(self, seconds: Mapping[str, float], at_once: int) -> None:
        self._seconds, self._at_once = seconds, at_once
        self._lock = threading.Lock()
        self._waiting: dict[str, Cell] = {}
        self._since: dict[str, float] = {}
        self._total = 0

    def planned(self, cells: Sequence[Cell]) -> None:
        self._waiting = {cell.id: cell for cell in cells}
        self._total = len(cells)

    def began(self, cell: Cell) -> None:
        with self._lock:
            self._since[cell.id] = time.monotonic()
            self._say(f"{cell.id} ...")

    def ended(self, cell: Cell, word: str, sentence: str) -> None:
        with self._lock:
            self._waiting.pop(cell.id, None)
            self._since.pop(cell.id, None)
            self._say(f"{cell.id}: {word}{sentence}  [{self._summary()}]")

    def _summary(self) -> str:
        """``3 of 17, about 4 min 05 s left``."""
        now = time.monotonic()
        running = {cell: now - since for cell, since in self._since.items()}
        left = seconds_left(list(self._waiting.values()), running, self._seconds, self._at_once)
        done = f"{self._total - len(self._waiting)} of {self._total}"
        return done if left is None or not self._waiting else f"{done}, about {format_seconds(left)} left"

    def _say(self, line: str) -> None:
        print(line, flush=True)


class OnTerminal(Lines):
    """The same lines above a table of what runs now and what comes next."""

    def __init__(self, seconds: Mapping[str, float], at_once: int, console: Console) -> None:
        super().__init__(seconds, at_once)
        self._console = console

    def table(self) -> Table:
        from rich.table import Table  # noqa: PLC0415 - only where there is a terminal
        from rich.text import Text  # noqa: PLC0415 - an id has brackets, which rich would read as markup

        with self._lock:
            now = time.monotonic()
            table = Table(title=self._summary() if self._total else None, title_justify="left", box=None, pad_edge=False)
            for heading in ("cell", "for", "took before"):
                table.add_column(heading, no_wrap=heading == "cell")
            running = [cell for cell in self._waiting.values() if cell.id in self._since]
            coming = [cell for cell in self._waiting.values() if cell.id not in self._since]
            for cell in (*running, *coming)[:_SHOWN]:
                since = self._since.get(cell.id)
                before = self._seconds.get(cell.id)
                table.add_row(
                    Text(cell.id),
                    "waits" if since is None else format_seconds(now - since),
                    "" if before is None else format_seconds(before),
                )
            return table

    def _say(self, line: str) -> None:
        if not line.endswith(" ..."):
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def watching(seconds: Mapping[str, float], at_once: int) -> Iterator[Watch]:
    """Lines, or the table where a person sits at a terminal that can show one; ``seconds`` is what cells took before."""
    if not sys.stdout.isatty():
        yield Lines(seconds, at_once)
        return
    from rich.console import Console  # noqa: PLC0415 - only where there is a terminal
    from rich.live import Live  # noqa: PLC0415

    console = Console()
    shown = OnTerminal(seconds, at_once, console)
    with Live(get_renderable=shown.table, console=console, refresh_per_second=2, transient=True):
        yield shown
