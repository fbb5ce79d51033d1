"""Writes ``index.html``: one file, no network, the verdict and everything it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any

import jinja2

from qualification.plan import Plan
from qualification.report.run import Run
from qualification.units import format_bytes, format_seconds
from qualification.verdict import CellVerdict, Verdict


@dataclass(frozen=True, slots=True)
class ModelRow:
    """What the records say of one model and modality; ``generation_tps`` is the median over its measured tests."""

    model: str
    size: str
    mode: str
    tests: int
    seconds: float
    generation_tps: float | None
    time_to_first_token_s: float | None


def render(run: Run) -> str:
    """The page."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"bytes": format_bytes, "seconds": format_seconds}
    columns, rows = heat_map(run.plan, run.verdict)
    return environment.get_template("index.html.j2").render(
        run_id=run.id,
        plan=run.plan,
        verdict=run.verdict,
        machine=run.machines[0] if run.machines else None,
        columns=columns,
        rows=rows,
        models=model_rows(run.records),
        failures=[record for record in run.records if record["outcome"] != "passed"],
        slowest=sorted(run.records, key=lambda record: -record["duration"])[:10],
        debt=[cell for cell in run.verdict.cells if cell.outcome in ("debt", "interrupted")],
        tests=len(run.records),
        began=run.began,
    )


def heat_map(plan: Plan, verdict: Verdict) -> tuple[list[str], list[tuple[str, list[list[CellVerdict]]]]]:
    """Environments as columns; for each group and model a row with the cells that stand in each column."""
    became = {cell.cell: cell for cell in verdict.cells}
    columns = list(plan.environments)
    rows: dict[str, list[list[CellVerdict]]] = {}
    for cell in plan.cells:
        name = f"{cell.group} · {cell.model.model_id}" if cell.model else cell.group
        row = rows.setdefault(name, [[] for _ in columns])
        row[columns.index(cell.environment)].append(became[cell.id])
    return columns, list(rows.items())


def model_rows(records: Sequence[Mapping[str, Any]]) -> list[ModelRow]:
    """One row for each model and modality, by model."""

    def key(record: Mapping[str, Any]) -> tuple[str, str]:
        return record["model"]["id"], record.get("metadata", {}).get("inference_modality", "unknown")

    measured = sorted((record for record in records if "model" in record), key=key)
    return [_model_row(model, mode, list(group)) for (model, mode), group in groupby(measured, key)]


def _model_row(model: str, mode: str, records: Sequence[Mapping[str, Any]]) -> ModelRow:
    size_gb = records[0]["model"].get("size_gb")
    return ModelRow(
        model=model,
        size="unknown" if size_gb is None else format_bytes(size_gb * 1e9),
        mode=mode,
        tests=len(records),
        seconds=sum(record["duration"] for record in records),
        generation_tps=_median(records, "generation_tps"),
        time_to_first_token_s=_median(records, "time_to_first_token_s"),
    )


def _median(records: Sequence[Mapping[str, Any]], key: str) -> float | None:
    values = [record["performance"][key] for record in records if key in record.get("performance", {})]
    return median(values) if values else None
