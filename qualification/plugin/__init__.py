"""The pytest plugin: its options, and which part of it answers which hook.

``recording``   one schema-checked record for each finished test, and the progress file that the supervisor's side reads
``earlier``     the names that tests had in earlier releases
``selection``   which tests a plain pytest leaves alone, and the marks that follow from others
``rules``       what a live test must declare, or it is not collected
``sharing``     the part of a shuffled cell that one process runs
``isolation``   a hub cache of a test's own, and the user's kept from being written to
``pristine``    a run after which the user's cache is another one fails
``hubs``        a local hub of a test's own, and the Hub where variables say so
``baselines``   what a model test took, beside what it took before
``measuring``   what the tool tells and takes while a test runs on a model
``comparing``   a release beside the one before it, where the cell is for that
``models``      one parameter for each model of the portfolio, and the fixtures that tell a test about it
"""

from __future__ import annotations

from pathlib import Path

import pytest

from qualification.plugin import (
    baselines,
    comparing,
    earlier,
    hubs,
    isolation,
    measuring,
    models,
    pristine,
    rules,
    selection,
    sharing,
)
from qualification.plugin.context import CELL, Cell, obey_supervisor, refuse_checkout
from qualification.plugin.recording import Progress, Recorder

__all__ = ["pytest_addoption", "pytest_configure", "report_benchmark"]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("qualification", "release qualification")
    group.addoption("--report-output", type=Path, metavar="FILE", help="append one JSON line for each finished test to FILE")
    group.addoption("--run-model-tests", action="store_true", help="run tests that load a model too")
    group.addoption("--cell", type=Path, metavar="FILE", help="(set by the runner) the cell that this process is")
    baselines.add_options(group)


def pytest_configure(config: pytest.Config) -> None:
    cell_file = config.getoption("--cell")
    cell = Cell.load(cell_file) if cell_file else None
    config.stash[CELL] = cell
    if cell:
        obey_supervisor()
        refuse_checkout(cell)
        config.pluginmanager.register(Progress(cell.progress), "qualification-progress")
    elif not hasattr(config, "workerinput"):  # of pytest-xdist's processes the first looks for all
        config.pluginmanager.register(pristine.Pristine(), "qualification-pristine")
    report_output = config.getoption("--report-output")
    if report_output:
        config.pluginmanager.register(Recorder(report_output.resolve(), cell), "qualification-recorder")
    config.pluginmanager.register(earlier, "qualification-earlier")
    config.pluginmanager.register(selection, "qualification-selection")
    config.pluginmanager.register(rules, "qualification-rules")
    config.pluginmanager.register(sharing, "qualification-sharing")
    config.pluginmanager.register(measuring, "qualification-measuring")
    config.pluginmanager.register(models, "qualification-models")
    config.pluginmanager.register(isolation, "qualification-isolation")
    config.pluginmanager.register(hubs, "qualification-hubs")
    config.pluginmanager.register(baselines, "qualification-baselines")
    config.pluginmanager.register(comparing, "qualification-comparing")


@pytest.fixture
def report_benchmark(request: pytest.FixtureRequest) -> models.ReportBenchmark:
    """``report_benchmark(performance={…}, stop_tokens={…}, anything=…)`` adds sections to the test's record."""
    return models.ReportBenchmark(request.node.user_properties)
