"""The examiner's command line: parses arguments, calls one function, prints, and turns errors into exit codes."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from qualification import (
    bundle,
    gate,
    inputs,
    interpreters,
    machine,
    matrix,
    plan,
    portfolio,
    runner,
    settings,
)
from qualification.declared import Matrix
from qualification.errors import QualificationError, UsageError, nearest
from qualification.hub import command as hub
from qualification.mint import command as mint
from qualification.performance import command as comparing
from qualification.plan import Plan
from qualification.report import command as report
from qualification.report import derived, markdown, terminal
from qualification.report.run import judge
from qualification.units import format_bytes


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

    planning = commands.add_parser("plan", help="show what a matrix asks for here, without running anything")
    planning.add_argument("matrix", type=Path, help="a file of matrices/")
    planning.add_argument("--tier", help="plan for a machine of this tier instead of this one")
    planning.add_argument("--explain", metavar="CELL", help="say all that decides whether CELL runs here")
    planning.add_argument("--show", action="store_true", help="print the plan, which is also what happens without --begin")
    planning.add_argument("--tool", type=Path, help="the installed mlxk that lists models, and knows which of them run")
    planning.add_argument("--project", type=Path, default=Path(), help="the checkout that holds the tests (default: here)")
    planning.add_argument("--wheel", type=Path, help="the wheel that is examined")
    planning.add_argument("--constraints", type=Path, help="the pinned versions that environments are made with")
    planning.add_argument("--begin", type=Path, metavar="REPORTS", help="freeze the plan into a new bundle below REPORTS")
    planning.set_defaults(action=_plan)

    running = commands.add_parser("run", help="run the cells of one environment of a bundle")
    running.add_argument("bundle", type=Path)
    running.add_argument("--environment", required=True, help="such as py312-locked")
    running.add_argument("--python", type=Path, help="its interpreter; leave out where the machine has none")
    running.add_argument("--unfit", default="", help="why the environment could not be made")
    running.add_argument("--project", type=Path, default=Path(), help="the checkout that holds the tests (default: here)")
    running.add_argument("--wheel", type=Path, help="the wheel that must be what the environment holds")
    running.add_argument("--constraints", type=Path, help="the pinned versions that the environment was made with")
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


def _plan(arguments: argparse.Namespace) -> int:
    here = machine.observe()
    declared = matrix.load(arguments.matrix)
    planned = _expand(declared, here, arguments)
    frozen = plan.freeze(planned)
    if arguments.begin:
        begun = bundle.begin(arguments.begin, frozen, planned.matrix, here)
        print(begun.root)
        return 0
    facts = gate.Facts(
        tier=next(tier for tier in planned.tiers if tier.name == planned.tier),
        pythons=frozenset(python for python in declared.pythons if interpreters.find(python)),
        available_bytes=here.available_bytes,
    )
    if arguments.explain:
        _explain(planned, facts, arguments.explain)
    else:
        _show(planned, facts)
    return 0


def _expand(declared: Matrix, here: machine.Machine, arguments: argparse.Namespace) -> Plan:
    names = [tier.name for tier in declared.tiers]
    if arguments.tier and arguments.tier not in names:
        raise UsageError(f"--tier {arguments.tier}: no tier of {arguments.matrix}{nearest(arguments.tier, names)}")
    listed = [] if declared.source == "minted" else portfolio.listed(*_tool(arguments.tool, arguments.wheel))
    paths = sorted({path for group in declared.groups for path in group.tests})
    absent = [path for path in paths if not (arguments.project / path).exists()]
    if absent:
        raise UsageError(f"{arguments.matrix} names {absent[0]}, which is not in {arguments.project.resolve()}")
    now = inputs.read(arguments.project, paths, declared.sha256, arguments.wheel, arguments.constraints)
    tier = arguments.tier or machine.tier_of(here.ram_bytes, declared.tiers).name
    return plan.expand(declared, portfolio.resolve(declared.source, listed, declared.minted), tier, now)


def _tool(installed: Path | None, wheel: Path | None) -> tuple[list[str], dict[str, str]]:
    """The command and environment that list models.

    Without an installed tool they are listed straight from the wheel, or from the checkout; whether one runs is then known only
    as far as this Python has the ML libraries.
    """
    environment = {**settings.inherited(), "HF_HOME": str(settings.hf_home()), "HOME": str(Path.home())}
    if installed:
        return [str(installed)], environment
    if wheel:
        environment["PYTHONPATH"] = str(wheel.resolve())
    return [sys.executable, "-m", "mlxk"], environment


def _show(planned: Plan, facts: gate.Facts) -> None:
    print(f"matrix {planned.matrix}, tier {planned.tier}: {len(planned.cells)} cells in {len(planned.environments)} environments")
    for cell in planned.cells:
        decision = gate.decide(cell, facts)
        print(
            f"  {'runs' if decision.runs else decision.code:15} {cell.id}" + ("" if decision.runs else f": {decision.sentence}")
        )


def _explain(planned: Plan, facts: gate.Facts, name: str) -> None:
    chosen = plan.select(planned, [name])
    for cell in planned.cells:
        if cell.id in chosen:
            decision = gate.decide(cell, facts)
            print(cell.id)
            print(f"  group        {cell.group} ({cell.process}, {cell.gate}), at most {cell.timeout_s:g} s")
            print(f"  tests        {' '.join(cell.tests)}" + (f" -m {cell.marks!r}" if cell.marks else ""))
            print(f"  environment  {cell.environment}: Python {cell.python}, dependencies {cell.dependencies}")
            if cell.model:
                need = portfolio.need_bytes(cell.model, facts.tier)
                budget = portfolio.budget_bytes(cell.model.modality, facts.tier)
                print(f"  model        {cell.model.model_id} ({cell.model.origin}, {cell.model.family})")
                needs = "more than is safe on any budget" if math.isinf(need) else f"needs {format_bytes(need)}"
                print(f"  memory       {needs} of {format_bytes(budget)}")
                print(f"  free now     {format_bytes(facts.available_bytes)}")
            print(
                f"  here         {'runs' if decision.runs else f'{decision.code}: {decision.sentence}; paid by {decision.pays}'}"
            )


def _run(arguments: argparse.Namespace) -> int:
    found = bundle.find(arguments.bundle)
    runner.run(
        runner.Job(
            bundle=found,
            project=arguments.project.resolve(),
            environment=arguments.environment,
            python=arguments.python.absolute() if arguments.python else None,
            unfit=arguments.unfit,
            wheel=arguments.wheel,
            only=tuple(arguments.only),
            resume=arguments.resume,
            changed=_changes(bundle.load_plan(found), arguments),
        ),
        tell=lambda line: print(line, flush=True),
    )
    return 0


def _changes(planned: Plan, arguments: argparse.Namespace) -> Callable[[], tuple[str, ...]]:
    """Tells what differs from the plan's inputs; the matrix only where ``--matrix`` names it."""
    tests = sorted({path for cell in planned.cells for path in cell.tests})

    def changed() -> tuple[str, ...]:
        sha256 = matrix.load(arguments.matrix).sha256 if arguments.matrix else planned.inputs.matrix_sha256
        now = inputs.read(arguments.project, tests, sha256, arguments.wheel, arguments.constraints)
        return inputs.changed(planned.inputs, now)

    return changed


def _verdict(arguments: argparse.Namespace) -> int:
    found = bundle.find(arguments.bundle)
    bundle.forget_verdict(found)
    judged = judge(found)
    seal = derived.write(found, judged)
    summary = settings.step_summary()
    if summary:
        with summary.open("a", encoding="utf-8") as file:
            file.write(markdown.render(judged))
    print(terminal.render(judged.plan, judged.verdict, os.path.relpath(found.index), seal))
    return judged.verdict.exit_code
