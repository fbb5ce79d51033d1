"""Writes what happened to each test before the next one begins: its record, and the progress that survives a kill."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from qualification import records, settings
from qualification.errors import QualificationError
from qualification.plugin.context import Cell

_NAMED_PACKAGES = ("mlx", "mlx-lm", "huggingface-hub", "transformers", "bottle", "waitress")


class Progress:
    """Appends to a file which tests were collected and which one is running, so that a kill leaves that behind."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._process = os.getpid()
        self._tell(obeys=True)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._tell(collected=[item.nodeid for item in session.items])

    def pytest_sessionfinish(self) -> None:
        self._tell(ended=True)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._tell(running=nodeid)

    def pytest_runtest_logfinish(self) -> None:
        self._tell(running=None)

    def _tell(self, **facts: Any) -> None:
        if os.getpid() != self._process:  # a test forked: what its child lives through is no progress of ours
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(facts) + "\n")


class Recorder:
    """Gathers the three phases of a test into one record and appends it when the test is over."""

    def __init__(self, path: Path, cell: Cell | None) -> None:
        self._path = path
        self._cell = cell
        self._phases: list[pytest.TestReport] = []
        self._reruns = 0
        self._running = ""
        self._process = os.getpid()
        self._found: dict[str, pytest.Item] = {}

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        self._found[item.nodeid] = item

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        for item in items:
            self._found.pop(item.nodeid, None)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """A test that something dropped without telling pytest is a failure: nobody would miss it otherwise."""
        kept = {item.nodeid for item in session.items}
        for nodeid in self._found.keys() - kept:
            self._record_collection(nodeid, "failed", "it was collected, and dropped without being deselected")

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A test that is run again starts anew under the same name."""
        if nodeid != self._running:
            self._reruns = 0
        self._running, self._phases = nodeid, []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._phases.append(report)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        if not self._phases or os.getpid() != self._process:
            return
        if any(str(phase.outcome) == "rerun" for phase in self._phases):
            self._reruns += 1
            return
        start, stop = self._phases[0].start, self._phases[-1].stop
        fixed = {"test": nodeid, **_ending(self._phases), **self._common(start, stop)}
        if "reason" in fixed:
            fixed["reason"] = self._without_paths(fixed["reason"])
        if self._reruns:
            fixed["reruns"] = self._reruns
        sections = list(self._phases[-1].user_properties)
        if any(name == "model" for name, _ in sections) and not any(name == "system" for name, _ in sections):
            sections.append(("system", _system()))
        try:
            records.append(self._path, records.compose(fixed, sections))
        except QualificationError as error:
            broken = {"outcome": "failed", "phase": "call", "reason": str(error)}
            records.append(self._path, records.compose({**fixed, **broken}, ()))
            raise

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A module that cannot be collected, or skips itself as a whole, has a record of its own."""
        if report.skipped:
            self._record_collection(report.nodeid, "skipped", _skip_reason(report.longrepr))
        elif report.failed:
            self._record_collection(report.nodeid or "collection", "failed", str(report.longrepr).strip().splitlines()[-1])

    def _record_collection(self, nodeid: str, outcome: str, reason: str) -> None:
        now = datetime.now(timezone.utc).timestamp()
        fixed = {"test": nodeid, "outcome": outcome, "phase": "collect", "reason": self._without_paths(reason)}
        records.append(self._path, records.compose({**fixed, **self._common(now, now)}, ()))

    def _without_paths(self, text: str) -> str:
        """A record goes to others: where this machine keeps things is none of their business."""
        project = ((self._cell.project, "<project>"),) if self._cell else ()
        for path, name in (*project, (settings.scratch(), "<scratch>"), (Path.home(), "~")):
            text = text.replace(str(path), name)
        return text

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


def _ending(phases: Sequence[pytest.TestReport]) -> dict[str, Any]:
    """Outcome, and where it was not a pass, phase and reason: the first phase that failed, else the first that skipped."""
    for outcome in ("failed", "skipped"):
        for phase in phases:
            if phase.outcome == outcome:
                return {"outcome": outcome, "phase": phase.when, "reason": _reason(phase)}
    called = [phase for phase in phases if phase.when == "call"]
    if not called:
        return {"outcome": "failed", "phase": "call", "reason": "it was never called: only its setup and teardown ran"}
    if hasattr(called[0], "wasxfail"):
        return {"outcome": "failed", "phase": "call", "reason": "it passed, and was expected to fail"}
    return {"outcome": "passed"}


def _reason(report: pytest.TestReport) -> str:
    expected = getattr(report, "wasxfail", None)
    if expected is not None:
        return f"expected to fail: {expected or 'no reason given'}"
    if report.skipped:
        return _skip_reason(report.longrepr)
    crash = getattr(report.longrepr, "reprcrash", None)
    text = str(crash.message if crash else report.longrepr).strip()
    return text.splitlines()[0] if text else "no reason given"


def _skip_reason(longrepr: object) -> str:
    text = str(longrepr[2] if isinstance(longrepr, tuple) else longrepr)
    return text.removeprefix("Skipped: ") or "no reason given"


@cache
def _packages() -> dict[str, str]:
    return {name: found for name in _NAMED_PACKAGES if (found := _version(name))}


@cache
def _system() -> dict[str, Any]:
    from qualification import machine  # noqa: PLC0415 - psutil, for tests that have a model

    here = machine.observe()
    return {
        "platform": platform.system().lower(),
        "platform_version": platform.release(),
        "python_version": platform.python_version(),
        "mlx_version": _version("mlx") or "absent",
        "hardware": platform.machine(),
        "ram_total_gb": round(here.ram_bytes / 1e9, 1),
        "hardware_profile": {"chip": here.processor, "cores_logical": here.cores},
    }


def _version(package: str) -> str | None:
    return _installed().get(package)


@cache
def _installed() -> dict[str, str]:
    """Versions by name of all distributions that can be imported from, as their folders are called.

    That is how importlib.metadata finds them; it then also reads and parses what is inside, which takes fifty times as long.
    """
    found: dict[str, str] = {}
    for place in sys.path:
        with contextlib.suppress(OSError):  # an archive, or a place that there is not
            for folder in os.listdir(place or "."):  # noqa: PTH208 - names are all that is wanted
                if folder.endswith(".dist-info"):
                    name, _, version = folder.removesuffix(".dist-info").partition("-")
                    found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), version)
    return found
