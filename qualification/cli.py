"""The examiner's command line: parses arguments, calls one function, prints, and turns errors into exit codes."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from qualification import bundle, history, inputs, machine, matrix, planning, progress, runner, settings
from qualification.errors import QualificationError
from qualification.hub import command as hub
from qualification.mint import command as mint
from qualification.performance import command as comparing
from qualification.performance import releases
from qualification.performance.environments import Releases
from qualification.plan import Plan
from qualification.report import command as report
from qualification.report import derived, markdown, terminal
from qualification.report.run import judge


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done or QUALIFIED, 1 failed or NOT_QUALIFIED, 2 usage, 3 INVALID, 4 QUALIFIED_WITH_EXCEPTIONS, 5 INCOMPLETE,
    130 interrupted.
    """
    arguments = _parser().parse_args(argv)
    action: Callable[[argparse.Namespace], int] = arguments.action
    try:
        return action(arguments)
    except QualificationError as error:
        print(f"qualification {arguments.command}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        hint = "; `make resume` goes on with it" if arguments.command == "run" else ""
        print(f"qualification {arguments.command}: interrupted{hint}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m qualification", description="Declare, run and judge what a release must show."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    plans = commands.add_parser("plan", help="show what a matrix asks for here, without running anything")
    planning.add_arguments(plans)
    plans.set_defaults(action=planning.run)

    running = commands.add_parser("run", help="run the cells of one environment of a bundle")
    running.add_argument("bundle", type=Path)
    running.add_argument("--environment", required=True, help="such as py312-locked")
    running.add_argument("--python", type=Path, help="its interpreter; leave out where the machine has none")
    running.add_argument("--unfit", default="", help="why the environment could not be made")
    running.add_argument("--absent", default="", help="why nobody tried to make the environment, which is then owed")
    running.add_argument("--project", type=Path, default=Path(), help="the checkout that holds the tests (default: here)")
    running.add_argument("--wheel", type=Path, help="the wheel that must be what the environment holds")
    running.add_argument("--constraints", type=Path, help="the pinned versions that the environment was made with")
    planning.add_release_arguments(running)
    running.add_argument("--matrix", type=Path, help="the matrix that was planned")
    running.add_argument("--resume", action="store_true", help="leave cells alone that have ended; run what is missing")
    running.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="a cell, group, environment or model; repeatable"
    )
    running.set_defaults(action=_run)

    judging = commands.add_parser("verdict", help="seal a bundle and judge it")
    judging.add_argument("bundle", type=Path)
    judging.set_defaults(action=_verdict)

    reporting = commands.add_parser("report", help="read, check, compare, merge and export what runs have written")
    report.add_arguments(reporting)
    reporting.set_defaults(action=report.run)

    minting = commands.add_parser("mint", help="make tiny but real models")
    mint.add_arguments(minting)
    minting.set_defaults(action=mint.run)

    compared = commands.add_parser("compare", help="say whether a wheel is slower than another one")
    comparing.add_arguments(compared)
    compared.set_defaults(action=comparing.run)

    serving = commands.add_parser("hub", help="serve a local model hub, with faults on request")
    hub.add_arguments(serving)
    serving.set_defaults(action=hub.run)
    return parser


def _run(arguments: argparse.Namespace) -> int:
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


def _verdict(arguments: argparse.Namespace) -> int:
    found = bundle.find(arguments.bundle)
    with bundle.claimed(found):
        bundle.forget_verdict(found)
        judged = judge(found)
        seal = derived.write(found, judged)
    summary = settings.step_summary()
    if summary:
        with summary.open("a", encoding="utf-8") as file:
            file.write(markdown.render(judged))
    print(terminal.render(judged.plan, judged.verdict, os.path.relpath(found.index), seal))
    return judged.verdict.exit_code
