"""Writes what happened to each test before the next one begins: its record, and the progress that survives a kill."""

from __future__ import annotations

import json
import platform
from datetime import datetime, timezone
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import pytest

from qualification import records
from qualification.plugin.context import Cell

_NAMED_PACKAGES = ("mlx", "mlx-lm", "huggingface-hub", "transformers", "bottle", "waitress")


class Progress:
    """Appends to a file which tests were collected and which one is running, so that a kill leaves that behind."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._tell(collected=[item.nodeid for item in session.items])

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._tell(running=nodeid)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._tell(running=None, finished=nodeid)

    def _tell(self, **facts: Any) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(facts) + "\n")


class Recorder:
    """Gathers the three phases of a test into one record and appends it when the test is over."""

    def __init__(self, path: Path, cell: Cell | None) -> None:
        self._path = path
        self._cell = cell
        self._phases: list[pytest.TestReport] = []
        self._reruns = 0

    def pytest_runtest_logstart(self) -> None:
        self._phases = []
        self._reruns = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if str(report.outcome) == "rerun":
            self._reruns += 1
            self._phases = []
        else:
            self._phases.append(report)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        if not self._phases:
            return
        decisive = _decisive(self._phases)
        start, stop = self._phases[0].start, self._phases[-1].stop
        fixed = {"test": nodeid, "outcome": decisive.outcome, **self._common(start, stop)}
        if decisive.outcome != "passed":
            fixed |= {"phase": decisive.when, "reason": _reason(decisive)}
        if self._reruns:
            fixed["reruns"] = self._reruns
        sections = list(self._phases[-1].user_properties)
        if any(name == "model" for name, _ in sections) and not any(name == "system" for name, _ in sections):
            sections.append(("system", _system()))
        records.append(self._path, records.compose(fixed, sections))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A module that cannot be collected is a failure with a record of its own."""
        if report.failed:
            now = datetime.now(timezone.utc).timestamp()
            reason = str(report.longrepr).strip().splitlines()[-1]
            fixed = {"test": report.nodeid or "collection", "outcome": "failed", "phase": "setup", "reason": reason}
            records.append(self._path, records.compose({**fixed, **self._common(now, now)}, ()))

    def _common(self, start: float, stop: float) -> dict[str, Any]:
        common: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(stop, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "mlx_knife_version": _version("mlxk") or "0.0.0",
            "duration": round(stop - start, 6),
            "test_start_ts": start,
            "test_end_ts": stop,
        }
        if self._cell:
            common |= {"run": self._cell.run, "cell": self._cell.cell, "attempt": self._cell.attempt}
            common["environment"] = {
                "python": platform.python_version(),
                "dependencies": self._cell.dependencies,
                "packages": _packages(),
            }
        return common


def _decisive(phases: list[pytest.TestReport]) -> pytest.TestReport:
    """The phase that names the outcome: the first that failed, else the first that skipped, else the last."""
    for outcome in ("failed", "skipped"):
        for phase in phases:
            if phase.outcome == outcome:
                return phase
    return phases[-1]


def _reason(report: pytest.TestReport) -> str:
    expected = getattr(report, "wasxfail", None)
    if expected is not None:
        return f"expected to fail: {expected or 'no reason given'}"
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    text = str(crash.message if crash else report.longrepr).strip()
    return text.splitlines()[0] if text else "no reason given"


@cache
def _packages() -> dict[str, str]:
    return {name: found for name in _NAMED_PACKAGES if (found := _version(name))}


@cache
def _system() -> dict[str, Any]:
    return {
        "platform": platform.system().lower(),
        "platform_version": platform.release(),
        "python_version": platform.python_version(),
        "mlx_version": _version("mlx") or "absent",
        "hardware": platform.machine(),
        "ram_total_gb": round(psutil.virtual_memory().total / 1e9, 1),
    }


@cache
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
