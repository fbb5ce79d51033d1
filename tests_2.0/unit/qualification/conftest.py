"""Builders of what the examiner works on: models, cells, plans, records, and a run that is written down in real files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from qualification import journal, plan, records, verdict
from qualification.bundle import Bundle
from qualification.declared import Quarantined, Tier
from qualification.plan import Cell, Inputs, Plan, Required
from qualification.portfolio import Model
from qualification.report import derived
from qualification.report.run import judge

settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")

GIB = 1 << 30
SHARES = {16: 0.4, 32: 0.5, 64: 0.6, 96: 0.7}
PASSED = {
    "schema_version": "1.0.0",
    "timestamp": "2026-01-02T03:04:05.678Z",
    "mlx_knife_version": "2.0.0",
    "outcome": "passed",
    "duration": 1.5,
    "test_start_ts": 1000.0,
    "test_end_ts": 1001.5,
}


class Build:
    """Each method makes one whole, valid thing; arguments replace what a test is about."""

    tiers = tuple(Tier(f"{size}gb", size * GIB, share, 0.7, 4 * GIB) for size, share in SHARES.items())

    @staticmethod
    def model(model_id: str = "org/a-llama", **changes: Any) -> Model:
        given = {"modality": "text", "family": "llama", "size_bytes": GIB, "origin": "discovered", "revision": "0" * 40}
        return Model(model_id, **{**given, **changes})

    @staticmethod
    def cell(name: str = "text[py312-locked]", **changes: Any) -> Cell:
        given: dict[str, Any] = {
            "id": name,
            "group": name.partition("[")[0],
            "process": "wet",
            "gate": "blocker",
            "tests": ("tests_2.0/live",),
            "marks": None,
            "timeout_s": 60.0,
            "python": "3.12",
            "dependencies": "locked",
            "tier": None,
            "model": None,
        }
        return Cell(**{**given, **changes})

    def plan(self, *cells: Cell, quarantine: tuple[Quarantined, ...] = (), **required: Any) -> Plan:
        given = {
            "pythons": (),
            "tiers": (),
            "groups": tuple(dict.fromkeys(cell.group for cell in cells)),
            "families": (),
            "flaky": 1,
        }
        inputs = Inputs("a" * 64, "b" * 64, None, "mlxk-2.0.0-py3-none-any.whl", "c" * 64)
        return Plan("release", "About.", "64gb", self.tiers, inputs, Required(**{**given, **required}), cells, quarantine)

    @staticmethod
    def record(test: str = "tests_2.0/live/test_a.py::test_it", **changes: Any) -> dict[str, Any]:
        return {**PASSED, "test": test, **changes}


class Run:
    """A run of a plan as the runner writes it: a journal and test records in real files."""

    def __init__(self, folder: Path, planned: Plan, name: str = "run-1") -> None:
        self.plan = planned
        self.journal, self.tests = folder / "journal.jsonl", folder / "tests.jsonl"
        self.plan_sha256 = hashlib.sha256(plan.freeze(planned)).hexdigest()
        journal.append(self.journal, "run_started", run=name, plan_sha256=self.plan_sha256)

    def gated(self, cell: str, code: str = "ram") -> None:
        journal.append(self.journal, "cell_gated", cell=cell, code=code, sentence="it is too large", pays="a larger machine")

    def started(self, cell: str, attempt: int = 1) -> None:
        journal.append(self.journal, "cell_started", cell=cell, attempt=attempt)

    def finished(self, cell: str, outcome: str = "passed", attempt: int = 1, tests: int = 1, **changes: Any) -> None:
        """Writes ``tests`` records that fit the outcome, then the end of the attempt."""
        raw = [self.record(cell, attempt, number, outcome) for number in range(tests)]
        self.ended(cell, outcome, attempt, raw, **changes)

    def ended(self, cell: str, outcome: str, attempt: int, raw: list[bytes], **changes: Any) -> None:
        """Writes the end of an attempt whose test records are ``raw``."""
        fact = {
            "cell": cell,
            "attempt": attempt,
            "outcome": outcome,
            "reason": "" if outcome == "passed" else f"it {outcome}",
            "duration_s": 2.0,
            "peak_bytes": GIB,
            "tests": {"collected": len(raw), "recorded": len(raw), "sha256": hashlib.sha256(b"".join(raw)).hexdigest()},
            "log": "logs/cell.1.log",
        }
        journal.append(self.journal, "cell_finished", **{**fact, **changes})

    def ran(self, cell: str, outcome: str = "passed", attempt: int = 1, **changes: Any) -> None:
        self.started(cell, attempt)
        self.finished(cell, outcome, attempt, **changes)

    def record(self, cell: str, attempt: int = 1, number: int = 0, outcome: str = "passed") -> bytes:
        """Appends one test record, and gives the bytes that it added."""
        before = self.tests.stat().st_size if self.tests.exists() else 0
        told = {"failed": {"outcome": "failed", "reason": "assert 1 == 2"}, "debt": {"outcome": "skipped", "reason": "no hub"}}
        told["quarantined"], told["flaky"] = told["failed"], {"reruns": 1}
        record = Build.record(f"tests_2.0/live/test_a.py::test_{number}", cell=cell, attempt=attempt, **told.get(outcome, {}))
        records.append(self.tests, record)
        return self.tests.read_bytes()[before:]

    def told(self, cell: str, **changes: Any) -> bytes:
        """Appends one test record of the first attempt, and gives the bytes that it added."""
        before = self.tests.stat().st_size if self.tests.exists() else 0
        records.append(self.tests, Build.record(cell=cell, attempt=1, **changes))
        return self.tests.read_bytes()[before:]

    def judge(self) -> verdict.Verdict:
        return verdict.judge(self.plan, self.plan_sha256, journal.read(self.journal), records.read(self.tests))


MACHINE = {
    "system": "Linux",
    "release": "6.1",
    "architecture": "x86_64",
    "processor": "A processor",
    "cores": 2,
    "ram_bytes": 16 * GIB,
    "available_bytes": 12 * GIB,
    "swap_used_bytes": 0,
}


def seal(run: Run, root: Path, machine: dict[str, Any] | None = None, log: str = "") -> Bundle:
    """The run as a bundle at ``root``, with memory samples and logs, judged as the sub-command ``verdict`` does it."""
    bundle = Bundle(root)
    bundle.logs.mkdir(parents=True)
    bundle.plan.write_bytes(plan.freeze(run.plan))
    bundle.machine.write_text(json.dumps(machine or MACHINE, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    bundle.journal.write_bytes(run.journal.read_bytes())
    bundle.tests.write_bytes(run.tests.read_bytes() if run.tests.exists() else b"")
    events = journal.read(bundle.journal)
    for number, event in enumerate(each for each in events if each["event"] == "cell_finished"):
        (root / event["log"]).write_text(f"{event['cell']}\n{log}", encoding="utf-8")
        sample = {"ts": 1000.0 + number, "cell": event["cell"], "tree_bytes": GIB, "available_bytes": 8 * GIB, "load_1": 0.5}
        with bundle.memory.open("a", encoding="utf-8") as file:
            file.write(json.dumps(sample) + "\n")
    derived.write(bundle, judge(bundle))
    return bundle


@pytest.fixture
def sealed() -> Any:
    """``sealed(run, root)`` makes the run a bundle, judged and sealed."""
    return seal


@pytest.fixture
def build() -> Build:
    return Build()


@pytest.fixture
def begin(tmp_path: Path) -> Any:
    """``begin(plan)`` is a run of that plan, begun; ``begin(plan, folder)`` one that is written down elsewhere."""
    return lambda planned, folder=tmp_path, name="run-1": Run(folder, planned, name)
