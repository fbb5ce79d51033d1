"""What did not run and must: summed by what would pay it, with the time that it would take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

from qualification.plan import Cell, Plan
from qualification.units import format_seconds


@dataclass(frozen=True, slots=True)
class Debt:
    """Cells that one thing would pay; ``seconds`` is what they took before, and 0 where nobody has run any of their kind."""

    pays: str
    cells: int
    models: int
    seconds: float

    @staticmethod
    def of(pays: str, cells: Iterable[Cell], seconds: Mapping[str, float]) -> Debt:
        owed = list(cells)
        usual = _by_group(seconds)
        known = [took for cell in owed if (took := seconds.get(cell.id, usual.get(cell.group))) is not None]
        total = sum(known) / len(known) * len(owed) if known else 0.0
        return Debt(pays, len(owed), len({cell.model.model_id for cell in owed if cell.model}), total)

    def __str__(self) -> str:
        """``a 64gb machine: 12 cells, 3 models, about 41 min``."""
        parts = [_counted(self.cells, "cell"), *([_counted(self.models, "model")] if self.models else [])]
        if self.seconds:
            parts.append(f"about {format_seconds(self.seconds) if self.seconds < 60 else f'{self.seconds / 60:.0f} min'}")
        return f"{self.pays}: {', '.join(parts)}"


def debts(plan: Plan, unpaid: Mapping[str, str], seconds: Mapping[str, float]) -> tuple[Debt, ...]:
    """``unpaid`` gives what would pay each cell that is owed, by its id; only required groups owe anything."""
    owed: dict[str, list[Cell]] = {}
    for cell in plan.cells:
        if cell.id in unpaid and cell.group in plan.required.groups:
            owed.setdefault(unpaid[cell.id], []).append(cell)
    return tuple(Debt.of(pays, cells, seconds) for pays, cells in owed.items())


def _by_group(seconds: Mapping[str, float]) -> dict[str, float]:
    """What cells of each group took on the average: an estimate for one of another Python, or with another model."""
    alike: dict[str, list[float]] = {}
    for cell, took in seconds.items():
        alike.setdefault(cell.partition("[")[0], []).append(took)
    return {group: fmean(took) for group, took in alike.items()}


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
