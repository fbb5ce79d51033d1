"""``python -m qualification compare``: whether a wheel is slower than another one, and what was measured as a file."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from qualification import portfolio, settings
from qualification.mint import store
from qualification.performance import environments, gate, releases
from qualification.performance.compare import EXIT_CODES, Comparison
from qualification.performance.environments import Releases, Side
from qualification.performance.workload import METRICS, Workload


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
    asked, new = (releases.wheel_of(each, arguments.project, home / "wheels") for each in (arguments.base, arguments.candidate))
    base, candidate = environments.both(Releases(asked, new, arguments.constraints, home), Path(sys.executable))
    (model,) = portfolio.measured()
    with tempfile.TemporaryDirectory(prefix="mlxk-compare-") as scratch:
        snapshot = store.install(model.model_id, Path(scratch) / "home")
        variables = {**settings.inherited(), "HOME": scratch, "HF_HOME": str(Path(scratch) / "home"), "HF_HUB_OFFLINE": "1"}
        workload = Workload(model.model_id, gate.PROMPT, variables)
        found = gate.examine(base, candidate, workload, gate.EVERY, lambda line: print(line, flush=True))
    print("\n".join(_summary(base, candidate, found)))
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        of = {"model": model.model_id, "revision": snapshot.name}
        document = gate.describe(base, candidate, found, gate.EVERY, of)
        arguments.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return EXIT_CODES[found.answer]


def _summary(base: Side, candidate: Side, found: Comparison) -> Iterator[str]:
    yield f"{found.answer}: {candidate.wheel.name} ({candidate.sha256[:12]}) beside {base.wheel.name} ({base.sha256[:12]})"
    yield from (f"  {metric:14} {finding.sentence}; {METRICS[metric]}" for metric, finding in found.findings.items())
    if found.answer == "INCONCLUSIVE":
        yield f"  {gate.TOO_BUSY[0].upper()}{gate.TOO_BUSY[1:]}."
