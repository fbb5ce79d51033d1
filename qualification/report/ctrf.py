"""Writes ``ctrf.json``: the run in the Common Test Report Format, https://ctrf.io."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Mapping
from typing import Any

from qualification.report.run import Run
from qualification.verdict import CellVerdict

_SPECIFICATION = "1.0.0"
_STATUS = {
    "passed": "passed", "flaky": "passed", "debt": "pending", "interrupted": "pending", "quarantined": "other",
}  # fmt: skip
"""Of a cell; any other outcome is a failure."""


def render(run: Run) -> str:
    """The document's text: every test record of every attempt, and after them every cell, as a test of type ``cell``."""
    tests = [_test(record) for record in run.records] + [_cell(cell) for cell in run.verdict.cells]
    counts = Counter(test["status"] for test in tests)
    starts = [test["start"] for test in tests if "start" in test]
    stops = [test["stop"] for test in tests if "stop" in test]
    document = {
        "reportFormat": "CTRF",
        "specVersion": _SPECIFICATION,
        "reportId": str(uuid.uuid5(uuid.NAMESPACE_URL, f"qualification:{run.id}")),
        "generatedBy": "qualification",
        "results": {
            "tool": {"name": "pytest", "extra": {"harness": "qualification"}},
            "summary": {
                "tests": len(tests),
                **{status: counts[status] for status in ("passed", "failed", "skipped", "pending", "other")},
                "flaky": sum(bool(test.get("flaky")) for test in tests),
                "start": min(starts, default=0),
                "stop": max(stops, default=0),
            },
            "tests": tests,
            "environment": {
                "reportName": run.id,
                "appName": "mlxk",
                "testEnvironment": f"{run.plan.matrix} on {run.plan.tier}",
                "healthy": run.verdict.word in ("QUALIFIED", "QUALIFIED_WITH_EXCEPTIONS"),
                "extra": {"verdict": run.verdict.word, "wheel_sha256": run.plan.inputs.wheel_sha256},
            },
        },
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _test(record: Mapping[str, Any]) -> dict[str, Any]:
    test = {
        "name": record["test"],
        "status": record["outcome"],
        "duration": _milliseconds(record.get("duration", 0)),
        "start": _milliseconds(record["test_start_ts"]),
        "stop": _milliseconds(record["test_end_ts"]),
        "suite": [record.get("cell") or "no cell"],
        "filePath": record["test"].partition("::")[0],
    }
    if "reason" in record:
        test["message"] = record["reason"]
    if "reruns" in record:
        test |= {"retries": record["reruns"], "flaky": record["outcome"] == "passed"}
    extra = {key: record[key] for key in ("attempt", "model", "performance") if key in record}
    return {**test, "extra": extra} if extra else test


def _cell(cell: CellVerdict) -> dict[str, Any]:
    test = {
        "name": cell.cell,
        "status": _STATUS.get(cell.outcome, "failed"),
        "duration": _milliseconds(cell.duration_s),
        "type": "cell",
        "rawStatus": cell.outcome,
        "flaky": cell.outcome == "flaky",
        "retries": max(0, cell.attempts - 1),
    }
    return {**test, "message": cell.reason} if cell.reason else test


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
