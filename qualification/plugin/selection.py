"""Which tests a plain pytest leaves alone, which may share a process, and which have no business in a cell."""

from __future__ import annotations

import platform
import re
import shutil
from pathlib import Path

import pytest

from qualification.plugin.context import CELL, Cell

WET = frozenset({"live_e2e", "live_stop_tokens", "live_run", "live_list", "issue27", "live_push"})
"""Marks of tests that read the user's cache or work in a directory of their own; they get the mark ``wet``."""

SEPARATE = frozenset({"live_pull", "live_clone", "live_vision_pipe", "live_lifecycle", "benchmark"})
"""Marks of tests that need a process with clean imports, signal processes or measure; never ``wet``, wherever they stand."""

ALONE = frozenset({"show_model_portfolio"})
"""Marks of what is run by name only, and belongs to no group."""

HARDWARE = frozenset({"cpu", "metal", "cuda"})

_NAMES_LIVE = re.compile(r"(?<!\w)(not\s+)?(live\w*|wet|issue27|model_test|benchmark|show_model_portfolio|cpu|metal|cuda)(?!\w)")
LIVE = "tests_2.0/live"
"""The folder of live tests, below the project's root."""
SPEC = "tests_2.0/spec"
"""The folder of tests of what others build on."""
BROWSER = "tests_2.0/browser"
"""The folder of tests that need Chromium; what the command line names is collected, whatever is ignored."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Live tests and a browser's are for cells and for who asks for them; a plain pytest does not even import them."""
    if collection_path == config.rootpath / BROWSER:
        return True
    return True if collection_path == config.rootpath / LIVE and not _asked_for(config) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    cell = config.stash[CELL]
    for item in items:
        if config.rootpath / SPEC in item.path.parents:
            item.add_marker(pytest.mark.spec)
        _mark(item, is_live=config.rootpath / LIVE in item.path.parents)
    if cell:
        _leave_to_other_cells(config, cell, items)
        _allow_reruns(cell, items)
    elif not _asked_for(config):
        skip = pytest.mark.skip(reason="it loads a model; --run-model-tests, or its mark after -m, runs it")
        for item in items:
            if item.get_closest_marker("model_test"):
                item.add_marker(skip)


def uses(item: pytest.Item, modality: str) -> bool:
    """Whether a test runs once for each model of this modality."""
    return f"{modality}_model_key" in getattr(item, "fixturenames", ())


def _asked_for(config: pytest.Config) -> bool:
    """By a cell, by ``--run-model-tests``, or by a mark of such tests that ``-m`` names and does not rule out."""
    named = any(not negated for negated, _ in _NAMES_LIVE.findall(config.option.markexpr))
    return config.stash[CELL] is not None or bool(config.getoption("--run-model-tests")) or named


def _mark(item: pytest.Item, is_live: bool) -> None:
    """``wet`` from the declared set; ``model_test`` and this machine's hardware for what loads a model."""
    marks = {mark.name for mark in item.iter_markers()}
    if (marks & WET or is_live) and not marks & (SEPARATE | ALONE):
        item.add_marker(pytest.mark.wet)
    loads = any(uses(item, modality) for modality in ("text", "vision", "audio"))
    if loads:
        item.add_marker(pytest.mark.model_test)
    wanted = marks & HARDWARE
    if wanted and hardware() not in wanted:
        item.add_marker(pytest.mark.skip(reason=f"it needs {' or '.join(sorted(wanted))}, and this machine has {hardware()}"))
    elif loads:
        item.add_marker(getattr(pytest.mark, hardware()))


def hardware() -> str:
    """What MLX computes on here: ``metal`` on Apple silicon, ``cuda`` where an NVIDIA driver is, else ``cpu``."""
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return "metal"
    return "cuda" if shutil.which("nvidia-smi") else "cpu"


def _leave_to_other_cells(config: pytest.Config, cell: Cell, items: list[pytest.Item]) -> None:
    """A cell has one model: what runs over those of another modality is for other cells."""
    if cell.model is None:
        return
    others = {"text", "vision", "audio"} - {cell.model.modality}
    elsewhere = [item for item in items if any(uses(item, other) for other in others) and not uses(item, cell.model.modality)]
    if elsewhere:
        config.hook.pytest_deselected(items=elsewhere)
        items[:] = [item for item in items if item not in elsewhere]


def _allow_reruns(cell: Cell, items: list[pytest.Item]) -> None:
    """As often as the cell's group allows, and never after an assertion; what a test says of itself does not count."""
    if cell.reruns:
        never = [AssertionError, pytest.fail.Exception]
        for item in items:
            item.add_marker(pytest.mark.flaky(reruns=cell.reruns, rerun_except=never), append=False)
