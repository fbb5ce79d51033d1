"""Fails a run of tests after which the user's cache is not what it was before, whoever changed it: a test, or its children.

``guard`` keeps this process from writing there; a process that a test starts it cannot watch. In a cell the supervisor's side
looks instead.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from qualification import caches, settings
from qualification.plugin import guard

_SHOWN = 20


class Pristine:
    """From its making to the end of the session."""

    def __init__(self) -> None:
        hubs = {guard.hub_of({"HOME": str(Path.home())}), guard.hub_of(settings.whole()), settings.copied_hf_home() / "hub"}
        self._before = {hub: caches.fingerprint(hub) for hub in sorted(hubs)}
        self._changed: list[str] = []

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        for hub, before in self._before.items():
            self._changed += [f"{hub}/{name}" for name in caches.changes(before, caches.fingerprint(hub))]
        if self._changed and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self._changed:
            return
        terminalreporter.section("the user's cache was changed", red=True, bold=True)
        for path in self._changed[:_SHOWN]:
            terminalreporter.line(path)
        if len(self._changed) > _SHOWN:
            terminalreporter.line(f"and {len(self._changed) - _SHOWN} more")
        terminalreporter.line("A test did that, or something else that ran meanwhile. Tests work on the fixture isolated_cache.")
