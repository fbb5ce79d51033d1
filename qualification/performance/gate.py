"""The release gate: two environments measured in turns on one model, each figure by its own rules, and what is kept of it."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from qualification import machine
from qualification.performance.compare import Comparison, compare
from qualification.performance.environments import Side
from qualification.performance.sequential import Rules
from qualification.performance.workload import METRICS, Workload, measure

PROMPT = "Tell me a story."

EVERY: Mapping[str, Rules] = dict.fromkeys(METRICS, Rules())
"""All figures by the usual rules."""

TOO_BUSY = "the machine was too busy to tell; run it again when it is quiet"


def examine(
    base: Side,
    candidate: Side,
    workload: Workload,
    rules: Mapping[str, Rules],
    tell: Callable[[str], None] = lambda _line: None,
) -> Comparison:
    """Whether the candidate is worse in any of the figures of ``rules``."""
    return compare(base, candidate, lambda sides: measure((sides[0].tool, sides[1].tool), workload), rules, tell)


def doubts(found: Comparison) -> str:
    """The figures that did not pass."""
    return "; ".join(f"{metric} {finding.sentence}" for metric, finding in found.findings.items() if finding.answer != "PASS")


def describe(
    base: Side, candidate: Side, found: Comparison, rules: Mapping[str, Rules], model: Mapping[str, str]
) -> dict[str, Any]:
    """All that someone needs who wants to work the answer out again."""
    return {
        "comparison": 1,
        "answer": found.answer,
        "base": {"wheel": base.wheel.name, "sha256": base.sha256},
        "candidate": {"wheel": candidate.wheel.name, "sha256": candidate.sha256},
        "rules": {metric: asdict(each) for metric, each in rules.items()},
        "workload": {**model, "prompt": PROMPT},
        "python": platform.python_version(),
        "machine": asdict(machine.observe()),
        "metrics": dict(METRICS),
        "findings": {metric: asdict(finding) for metric, finding in found.findings.items()},
        "samples": {"base": list(map(dict, found.base)), "candidate": list(map(dict, found.candidate))},
    }
