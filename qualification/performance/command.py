"""``python -m qualification compare``: whether a wheel is slower than another one, and what was measured as a file."""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from qualification import machine, settings
from qualification.mint import store
from qualification.performance import environments, releases
from qualification.performance.compare import EXIT_CODES, Comparison, compare
from qualification.performance.environments import Side
from qualification.performance.sequential import Rules
from qualification.performance.workload import METRICS, Workload, measure

MODEL = "mint-pathology/never-stops"
"""It fills every budget, so that both sides always write equally much."""

PROMPT = "Tell me a story."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("candidate", help="the wheel that is to be released, or a tag")
    parser.add_argument("--base", required=True, help="the wheel of the last release, or its tag")
    parser.add_argument("--project", type=Path, default=Path(), help="the repository that has the tags (default: here)")
    parser.add_argument("--constraints", type=Path, help="the pinned versions that both environments are made with")
    parser.add_argument("--environments", type=Path, default=Path(".nox/compared"), help="where environments are kept")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write every sample and finding to FILE")


def run(arguments: argparse.Namespace) -> int:
    """Exit codes: 0 PASS, 1 FAIL, 5 INCONCLUSIVE."""
    home = arguments.environments.absolute()
    base, candidate = (
        environments.make(releases.wheel_of(release, arguments.project, home / "wheels"), home, arguments.constraints)
        for release in (arguments.base, arguments.candidate)
    )
    environments.refuse_unlike(base, candidate)
    rules = Rules()
    with tempfile.TemporaryDirectory(prefix="mlxk-compare-") as scratch:
        snapshot = store.install(MODEL, Path(scratch) / "home")
        variables = {**settings.inherited(), "HOME": scratch, "HF_HOME": str(Path(scratch) / "home"), "HF_HUB_OFFLINE": "1"}
        load = Workload(MODEL, PROMPT, variables)
        found = compare(
            base,
            candidate,
            lambda sides: measure((sides[0].tool, sides[1].tool), load),
            rules,
            lambda line: print(line, flush=True),
        )
    print(_summary(base, candidate, found))
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        document = describe(base, candidate, found, rules, {"model": MODEL, "revision": snapshot.name})
        arguments.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return EXIT_CODES[found.answer]


def describe(base: Side, candidate: Side, found: Comparison, rules: Rules, workload: Mapping[str, str]) -> dict[str, Any]:
    """All that someone needs who wants to work the answer out again."""
    return {
        "comparison": 1,
        "answer": found.answer,
        "base": {"wheel": base.wheel.name, "sha256": base.sha256},
        "candidate": {"wheel": candidate.wheel.name, "sha256": candidate.sha256},
        "rules": asdict(rules),
        "workload": dict(workload),
        "python": platform.python_version(),
        "machine": asdict(machine.observe()),
        "metrics": dict(METRICS),
        "findings": {metric: asdict(finding) for metric, finding in found.findings.items()},
        "samples": {"base": list(map(dict, found.base)), "candidate": list(map(dict, found.candidate))},
    }


def _summary(base: Side, candidate: Side, found: Comparison) -> str:
    lines = [f"{found.answer}: {candidate.wheel.name} ({candidate.sha256[:12]}) beside {base.wheel.name} ({base.sha256[:12]})"]
    for metric, finding in found.findings.items():
        lines.append(f"  {metric:14} {finding.sentence}; {METRICS[metric]}")
    if found.answer == "INCONCLUSIVE":
        lines.append("  The machine was too busy to tell; run it again when it is quiet.")
    return "\n".join(lines)
