"""Writes ``verdict.json``: the verdict with every cell of the plan, for programs."""

from __future__ import annotations

import json
from dataclasses import asdict

from qualification import schemas
from qualification.errors import BundleError
from qualification.report.run import Run


def render(run: Run) -> str:
    """The document's text. Raises BundleError where it would not follow its own schema."""
    document = {
        "verdict": 1,
        "word": run.verdict.word,
        "exit_code": run.verdict.exit_code,
        "run": run.id,
        "matrix": run.plan.matrix,
        "tier": run.plan.tier,
        "inputs": asdict(run.plan.inputs),
        "counts": run.verdict.counts,
        "reasons": [asdict(reason) for reason in run.verdict.reasons],
        "cells": [asdict(cell) for cell in run.verdict.cells],
    }
    document = json.loads(json.dumps(document))
    wrong = schemas.violations("verdict", document)
    if wrong:
        raise BundleError(f"the verdict does not follow its schema: {wrong[0]}")
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
