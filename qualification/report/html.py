"""Writes ``index.html``: one file, no network, no script; the verdict and everything it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from qualification.plan import Plan
from qualification.report import timeline
from qualification.report.run import Run
from qualification.report.spread import Spread
from qualification.report.summary import ModelRow, model_rows
from qualification.units import format_bytes, format_seconds
from qualification.verdict import CellVerdict, Verdict

_DENSE = 150
"""More cells than these are tiles without words; a pointer on one tells them."""
_LISTED = 500
_FIRST = 12
"""So many reasons and debts are read at once; the others unfold."""
_SLOWEST = 12

GLYPHS = {
    "leaked": "L", "failed": "✕", "crashed": "C", "timeout": "T", "oom_guard": "M", "harness_error": "H",
    "interrupted": "…", "debt": "○", "flaky": "≈", "quarantined": "Q", "passed": "✓",
}  # fmt: skip
"""So that no outcome is told by colour alone."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the heat-map: for each environment the cells that stand there. ``clean`` where all of them passed."""

    name: str
    cells: Sequence[Sequence[CellVerdict]]

    @property
    def clean(self) -> bool:
        return all(cell.outcome == "passed" for cells in self.cells for cell in cells)


def render(run: Run) -> str:
    """The page."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"bytes": format_bytes, "seconds": format_seconds, "pixels": _pixels}
    columns, rows = heat_map(run.plan, run.verdict)
    models = model_rows(run.records)
    failures = [record for record in run.records if record["outcome"] != "passed"]
    return environment.get_template("index.html.j2").render(
        run=run,
        plan=run.plan,
        verdict=run.verdict,
        glyphs=GLYPHS,
        first=_FIRST,
        columns=columns,
        rows=rows,
        dense=len(run.verdict.cells) > _DENSE,
        models=models,
        fastest=max(
            (row.generation_tps.high or row.generation_tps.values[-1] for row in models if row.generation_tps), default=0
        ),
        failures=failures[:_LISTED],
        unlisted=max(0, len(failures) - _LISTED),
        slowest=sorted(run.records, key=lambda record: -record.get("duration", 0))[:_SLOWEST],
        debt=[cell for cell in run.verdict.cells if cell.outcome in ("debt", "interrupted")],
        timeline=timeline.lay_out(run),
    )


def heat_map(plan: Plan, verdict: Verdict) -> tuple[list[str], list[Row]]:
    """Environments as columns; a row for each group and model."""
    became = {cell.cell: cell for cell in verdict.cells}
    columns = list(plan.environments)
    rows: dict[str, list[list[CellVerdict]]] = {}
    for cell in plan.cells:
        name = f"{cell.group} · {cell.model.model_id}" if cell.model else cell.group
        row = rows.setdefault(name, [[] for _ in columns])
        row[columns.index(cell.environment)].append(became[cell.id])
    return columns, [Row(name, cells) for name, cells in rows.items()]


def _pixels(spread: Spread, most: float) -> dict[str, float]:
    """Where the median and its interval (else the least and the most) lie on a line of 100 pixels from 0 to ``most``."""
    low = spread.values[0] if spread.low is None else spread.low
    high = spread.values[-1] if spread.high is None else spread.high
    return {name: round(100 * value / most, 1) for name, value in (("low", low), ("median", spread.median), ("high", high))}


__all__ = ["GLYPHS", "ModelRow", "Row", "heat_map", "model_rows", "render"]
