"""Which tests a plain pytest leaves alone, and which ones may share a process."""

from __future__ import annotations

from pathlib import Path

import pytest

from qualification.plugin.context import CELL

WET = frozenset({"live_e2e", "live_stop_tokens", "live_run", "live_list", "issue27", "live_push"})
"""Marks of tests that read the user's cache or work in a directory of their own; they get the mark ``wet``."""

SEPARATE = frozenset({"live_pull", "live_clone", "live_vision_pipe", "live_lifecycle"})
"""Marks of tests that need a process with clean imports, or that signal processes; never ``wet``, wherever they stand."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """``tests_2.0/live`` is for cells and for an explicit ``-m``; a plain pytest does not even import it."""
    asked_for = config.stash[CELL] is not None or "live" in config.option.markexpr or "wet" in config.option.markexpr
    return True if collection_path == _live(config) and not asked_for else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    _allow_reruns(config, items)
    for item in items:
        marks = {mark.name for mark in item.iter_markers()}
        if (marks & WET or _live(config) in item.path.parents) and not marks & SEPARATE:
            item.add_marker(pytest.mark.wet)


def _allow_reruns(config: pytest.Config, items: list[pytest.Item]) -> None:
    """As often as the cell's group allows, and never after an assertion; what a test says of itself does not count."""
    cell = config.stash[CELL]
    if cell and cell.reruns:
        never = [AssertionError, pytest.fail.Exception]
        for item in items:
            item.add_marker(pytest.mark.flaky(reruns=cell.reruns, rerun_except=never), append=False)


def _live(config: pytest.Config) -> Path:
    return config.rootpath / "tests_2.0" / "live"
