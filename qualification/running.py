"""The command ``run``: the cells of one environment of a bundle."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from qualification import bundle, history, inputs, machine, matrix, planning, progress, runner
from qualification.performance import releases
from qualification.performance.environments import Releases
from qualification.plan import Plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--environment", required=True, help="such as py312-locked")
    parser.add_argument("--python", type=Path, help="its interpreter; leave out where the machine has none")
    parser.add_argument("--unfit", default="", help="why the environment could not be made")
    parser.add_argument("--absent", default="", help="why nobody tried to make the environment, which is then owed")
    parser.add_argument("--project", type=Path, default=Path(), help="the checkout that holds the tests (default: here)")
    parser.add_argument("--wheel", type=Path, help="the wheel that must be what the environment holds")
    parser.add_argument("--constraints", type=Path, help="the pinned versions that the environment was made with")
    planning.add_release_arguments(parser)
    parser.add_argument("--matrix", type=Path, help="the matrix that was planned")
    parser.add_argument("--resume", action="store_true", help="leave cells alone that have ended; run what is missing")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="a cell, group, environment or model; repeatable"
    )


def run(arguments: argparse.Namespace) -> int:
    found = bundle.find(arguments.bundle)
    planned = bundle.load_plan(found)
    base = _base(planned, arguments)
    compared = base and arguments.wheel and Releases(base, arguments.wheel, arguments.constraints, arguments.compared.absolute())
    job = runner.Job(
        bundle=found,
        project=arguments.project.resolve(),
        environment=arguments.environment,
        python=arguments.python.absolute() if arguments.python else None,
        unfit=arguments.unfit,
        absent=arguments.absent,
        wheel=arguments.wheel,
        only=tuple(arguments.only),
        resume=arguments.resume,
        changed=_changes(planned, arguments, base),
        releases=compared or None,
    )
    with progress.watching(history.read(found.root.parent).seconds, machine.observe().at_once) as watch:
        runner.run(job, watch)
    return 0


def _base(planned: Plan, arguments: argparse.Namespace) -> Path | None:
    """The wheel that speed is compared with, if any cell compares."""
    if not any(cell.metrics for cell in planned.cells):
        return None
    return releases.before(arguments.base, arguments.project, arguments.compared / "wheels")[0]


def _changes(planned: Plan, arguments: argparse.Namespace, base: Path | None) -> Callable[[], tuple[str, ...]]:
    """Tells what differs from the plan's inputs; the matrix only where ``--matrix`` names it."""
    tests = sorted({path for cell in planned.cells for path in cell.tests})
    sha256 = matrix.reader_of_sha256(arguments.matrix) if arguments.matrix else lambda: planned.inputs.matrix_sha256

    def changed() -> tuple[str, ...]:
        now = inputs.read(arguments.project, tests, sha256(), arguments.wheel, arguments.constraints, base)
        return inputs.changed(planned.inputs, now)

    return changed
