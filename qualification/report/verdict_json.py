"""Writes ``verdict.json``: the verdict with every cell of the plan, for programs."""

from __future__ import annotations

import json
from dataclasses import asdict

from qualification import schemas
from qualification.errors import BundleError
from qualification.plan import Plan
from qualification.verdict import Verdict


def render(run_id: str, plan: Plan, verdict: Verdict) -> str:
    """The document's text. Raises BundleError where it would not follow its own schema."""
    document = {
        "verdict": 1,
        "word": verdict.word,
        "exit_code": verdict.exit_code,
        "run": run_id,
        "matrix": plan.matrix,
        "tier": plan.tier,
        "inputs": asdict(plan.inputs),
        "counts": verdict.counts,
        "reasons": [asdict(reason) for reason in verdict.reasons],
        "cells": [asdict(cell) for cell in verdict.cells],
    }
    document = json.loads(json.dumps(document))
    wrong = schemas.violations("verdict", document)
    if wrong:
        raise BundleError(f"the verdict does not follow its schema: {wrong[0]}")
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
