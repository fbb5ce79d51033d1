"""Writes an in-toto statement about the examined wheel: which tests passed, to be signed by whoever vouches for it.

Predicate: https://github.com/in-toto/attestation/blob/main/spec/predicates/test-result.md, version 0.1.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from qualification.errors import UsageError
from qualification.report.run import Run

_RESULTS = {"QUALIFIED": "PASSED", "QUALIFIED_WITH_EXCEPTIONS": "WARNED"}
"""Whatever did not qualify is FAILED: the predicate knows no debt."""


def render(run: Run, seal: str) -> str:
    """The statement's text; its tests are the cells. ``seal`` is the manifest's sha256. Raises UsageError without a wheel."""
    inputs = run.plan.inputs
    if not inputs.wheel or not inputs.wheel_sha256:
        raise UsageError(f"{run.id} examined no wheel, so there is nothing that a statement could be about")
    configuration = [
        _descriptor(f"matrices/{run.plan.matrix}.yaml", inputs.matrix_sha256),
        _descriptor("tests", inputs.tests_sha256),
        *([_descriptor("constraints.txt", inputs.constraints_sha256)] if inputs.constraints_sha256 else []),
        _descriptor(f"{run.id}/manifest.json", seal),
    ]
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [_descriptor(inputs.wheel, inputs.wheel_sha256)],
        "predicateType": "https://in-toto.io/attestation/test-result/v0.1",
        "predicate": {
            "result": _RESULTS.get(run.verdict.word, "FAILED"),
            "configuration": configuration,
            "passedTests": _cells(run, ("passed",)),
            "warnedTests": _cells(run, ("flaky", "quarantined")),
            "failedTests": _cells(run, None),
        },
    }
    return json.dumps(statement, indent=1, ensure_ascii=False) + "\n"


def _descriptor(name: str, sha256: str) -> dict[str, Any]:
    return {"name": name, "digest": {"sha256": sha256}}


def _cells(run: Run, outcomes: Iterable[str] | None) -> list[str]:
    """Cells of these outcomes; with None all that neither passed nor are excused, debt included."""
    wanted = tuple(outcomes) if outcomes else ()
    good = ("passed", "flaky", "quarantined")
    return [cell.cell for cell in run.verdict.cells if (cell.outcome in wanted if wanted else cell.outcome not in good)]
