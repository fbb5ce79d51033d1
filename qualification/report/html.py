"""Writes ``index.html``: one file, no network, no script; the verdict and everything it rests on."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from qualification import schemas
from qualification.debt import Debt
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
_CITED = 12
_SLOWEST = 12
_FILES = (
    "plan.json", "journal.jsonl", "tests.jsonl", "memory.jsonl", "machine.json", "manifest.json", "verdict.json", "junit.xml",
    "ctrf.json",
)  # fmt: skip

GLYPHS = {
    "leaked": "L", "failed": "✕", "crashed": "C", "timeout": "T", "oom_guard": "M", "harness_error": "H",
    "interrupted": "…", "debt": "○", "flaky": "≈", "quarantined": "Q", "passed": "✓", "skipped": "–",
}  # fmt: skip
"""So that no outcome is told by colour alone; the last is one of tests."""

_SIGNS = {"INVALID": "!", "NOT_QUALIFIED": "✕", "INCOMPLETE": "○", "QUALIFIED_WITH_EXCEPTIONS": "≈", "QUALIFIED": "✓"}
_SHORT = {
    "INVALID": "invalid", "NOT_QUALIFIED": "not qualified", "INCOMPLETE": "incomplete", "QUALIFIED_WITH_EXCEPTIONS": "exception",
    "QUALIFIED": "qualified",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the heat-map: for each environment the cells that stand there. ``clean`` where all of them passed."""

    name: str
    cells: Sequence[Sequence[CellVerdict]]

    @property
    def clean(self) -> bool:
        return all(cell.outcome == "passed" for cells in self.cells for cell in cells)


@dataclass(frozen=True, slots=True)
class Group:
    """The rows of one group of the matrix, one for each of its models; ``gate`` as the matrix says."""

    name: str
    gate: str
    rows: Sequence[Row]

    @property
    def many(self) -> bool:
        """Whether its rows are named by their models, below the group's own name."""
        return len(self.rows) > 1 or self.rows[0].name != self.name

    @property
    def clean(self) -> bool:
        return all(row.clean for row in self.rows)


def render(run: Run) -> str:
    """The page."""
    groups = heat_map(run.plan, run.verdict)
    models = model_rows(run.records)
    failures = [record for record in run.records if record["outcome"] != "passed"]
    return _template().render(
        run=run,
        plan=run.plan,
        verdict=run.verdict,
        glyphs=GLYPHS,
        signs=_SIGNS,
        short=_SHORT,
        first=_FIRST,
        cited=_CITED,
        facts=list(_facts(run)),
        columns=run.plan.environments,
        groups=groups,
        rows=sum(len(group.rows) for group in groups),
        dense=len(run.verdict.cells) > _DENSE,
        models=models,
        fastest=max(
            (row.generation_tps.high or row.generation_tps.values[-1] for row in models if row.generation_tps), default=0
        ),
        hears=any(row.real_time_factor for row in models),
        health=_health(run.records),
        failures=failures[:_LISTED],
        unlisted=max(0, len(failures) - _LISTED),
        slowest=sorted(run.records, key=lambda record: -record.get("duration", 0))[:_SLOWEST],
        debts=list(_debts(run)),
        timeline=timeline.lay_out(run),
        installed=sorted({_installed(record) for record in run.records if "environment" in record}),
        files=_FILES,
    )


@functools.cache
def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"bytes": format_bytes, "seconds": format_seconds, "places": _places}
    return environment.get_template("index.html.j2")


def heat_map(plan: Plan, verdict: Verdict) -> list[Group]:
    """A row for each group and model, with the cells of each environment in the order of the plan's."""
    became = {cell.cell: cell for cell in verdict.cells}
    columns = {name: index for index, name in enumerate(plan.environments)}
    rows: dict[tuple[str, str], dict[str, list[list[CellVerdict]]]] = {}
    for cell in plan.cells:
        group = rows.setdefault((cell.group, cell.gate), {})
        row = group.setdefault(cell.model.model_id if cell.model else cell.group, [[] for _ in columns])
        row[columns[cell.environment]].append(became[cell.id])
    return [Group(*key, [Row(name, cells) for name, cells in group.items()]) for key, group in rows.items()]


def _facts(run: Run) -> Iterator[tuple[str, str]]:
    """What is read first, beside the verdict."""
    cells = run.verdict.cells
    passed = sum(record["outcome"] == "passed" for record in run.records)
    moments = [schemas.instant(event["at"]).timestamp() for event in run.events]
    yield "cells passed", f"{sum(cell.outcome == 'passed' for cell in cells)} of {len(cells)}"
    yield "tests passed", f"{passed} of {len(run.records)}"
    yield "took", format_seconds(max(moments) - min(moments)) if moments else "unknown"
    yield "most memory of a cell", format_bytes(max((cell.peak_bytes for cell in cells), default=0))
    yield "tier", run.plan.tier
    yield "begun", run.began[:16].replace("T", " ")


def _debts(run: Run) -> Iterator[tuple[Debt, list[CellVerdict]]]:
    """What did not run by what would pay it; the time is that of like cells which did run."""
    planned = {cell.id: cell for cell in run.plan.cells}
    took = {cell.cell: cell.duration_s for cell in run.verdict.cells if cell.outcome == "passed"}
    owed: dict[str, list[CellVerdict]] = {}
    for cell in run.verdict.cells:
        if cell.outcome in ("debt", "interrupted"):
            owed.setdefault(cell.pays or "a run in which it ends", []).append(cell)
    for pays, cells in owed.items():
        yield Debt.of(pays, (planned[cell.cell] for cell in cells), took), cells


def _health(records: Sequence[Mapping[str, Any]]) -> str:
    """A sentence on what the machine was like meanwhile; empty where nothing was said of it."""
    known = [record["system_health"] for record in records if "quality_flags" in record.get("system_health", {})]
    flags = Counter(flag for health in known for flag in health["quality_flags"] if flag != "clean")
    clean = sum(health["quality_flags"] == ["clean"] for health in known)
    told = "".join(f"; {flag} in {count}" for flag, count in flags.most_common())
    return f"The machine was clean in {clean} of {len(known)} tests that tell of it{told}." if known else ""


def _installed(record: Mapping[str, Any]) -> str:
    environment = record["environment"]
    packages = ", ".join(f"{name} {version}" for name, version in sorted(environment.get("packages", {}).items()))
    return f"Python {environment['python']}, {environment['dependencies']}: {packages or 'not told'}"


def _places(spread: Spread, most: float) -> dict[str, float]:
    """Where the median and its interval (else the least and the most) lie between 0 and ``most``, in per cent."""
    low = spread.values[0] if spread.low is None else spread.low
    high = spread.values[-1] if spread.high is None else spread.high
    return {name: round(100 * value / most, 1) for name, value in (("low", low), ("median", spread.median), ("high", high))}


__all__ = ["GLYPHS", "Group", "ModelRow", "Row", "heat_map", "render"]
