"""The release that a cell examines beside the one before it, on the cell's model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qualification import settings
from qualification.plugin.context import CELL

if TYPE_CHECKING:
    from qualification.performance.compare import Comparison
    from qualification.plugin.models import ReportBenchmark
    from qualification.portfolio import Model


@pytest.fixture
def release_comparison(request: pytest.FixtureRequest, text_model_info: Model, report_benchmark: ReportBenchmark) -> Comparison:
    """Every figure that the matrix names, each by its own rules; all samples stand in the test's record."""
    cell = request.config.stash[CELL]
    if cell is None or not cell.sides:
        pytest.skip(
            "it compares two wheels, in a cell of a group with `metrics`; `make compare BASE=<wheel|tag>` does it at once"
        )
    from qualification.performance import gate  # noqa: PLC0415 - for the one test that measures
    from qualification.performance.sequential import Rules  # noqa: PLC0415
    from qualification.performance.workload import Workload  # noqa: PLC0415

    base, candidate = cell.sides
    rules = {metric.name: Rules(metric.tolerance, metric.margin) for metric in cell.metrics}
    workload = Workload(text_model_info.model_id, gate.PROMPT, settings.whole())
    found = gate.examine(base, candidate, workload, rules, print)
    model = {"model": text_model_info.model_id, "revision": text_model_info.revision or ""}
    report_benchmark(comparison=gate.describe(base, candidate, found, rules, model))
    return found
