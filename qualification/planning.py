"""The command ``plan``: what a matrix asks for, and what of it would run here, or on a machine of another tier."""

from __future__ import annotations

import argparse
import math
import sys
from datetime import date
from pathlib import Path

from qualification import bundle, gate, history, host, inputs, interpreters, machine, matrix, needs, plan, portfolio, settings
from qualification.debt import Debt, debts
from qualification.declared import Matrix
from qualification.errors import UsageError, nearest
from qualification.performance import releases
from qualification.plan import Plan
from qualification.portfolio import Capacity
from qualification.units import format_bytes, format_seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("matrix", type=Path, help="a file of matrices/")
    parser.add_argument("--tier", help="plan for a machine of this tier instead of this one")
    parser.add_argument("--explain", metavar="CELL", help="say all that decides whether CELL runs here")
    parser.add_argument("--show", action="store_true", help="print the plan, which is also what happens without --begin")
    parser.add_argument("--tool", type=Path, help="the installed mlxk that lists models, and knows which of them run")
    parser.add_argument("--project", type=Path, default=Path(), help="the checkout that holds the tests (default: here)")
    parser.add_argument("--wheel", type=Path, help="the wheel that is examined")
    parser.add_argument("--constraints", type=Path, help="the pinned versions that environments are made with")
    add_release_arguments(parser)
    parser.add_argument("--begin", type=Path, metavar="REPORTS", help="freeze the plan into a new bundle below REPORTS")

    parser.add_argument("--reports", type=Path, default=Path("reports"), help="earlier runs, which tell times and memory")


def add_release_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the release that speed is compared with, alike for a plan and for its runs."""
    parser.add_argument(
        "--base", metavar="RELEASE", help="the release before: a wheel, a tag, or first (default: the newest v* tag)"
    )
    parser.add_argument(
        "--compared", type=Path, default=Path(".nox/compared"), help="where releases and their environments are kept"
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints the plan, explains a cell of it, or freezes it into a new bundle."""
    here = machine.observe()
    declared = matrix.load(arguments.matrix)
    planned = _expand(declared, here, arguments)
    if arguments.begin:
        print(bundle.begin(arguments.begin, plan.freeze(planned), planned.matrix, here).root)
        return 0
    facts = _facts(planned, here, arguments)
    if arguments.explain:
        _explain(planned, facts, arguments.explain)
    else:
        _show(planned, facts, history.read(arguments.reports))
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
    compares = any(group.metrics for group in declared.groups)
    base, first = releases.before(arguments.base, arguments.project, arguments.compared / "wheels") if compares else (None, "")
    now = inputs.read(arguments.project, paths, declared.sha256, arguments.wheel, arguments.constraints, base)
    own = machine.tier_of(here.ram_bytes, declared.tiers).name
    tier = arguments.tier or own
    if arguments.begin and tier != own:
        raise UsageError(
            f"--tier {tier} with --begin: this machine is of tier {own}, and can prove no other; leave out one of them"
        )
    return plan.expand(declared, portfolio.resolve(declared.source, listed, declared.minted), tier, now, first)


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


def _facts(planned: Plan, here: machine.Machine, arguments: argparse.Namespace) -> gate.Facts:
    """Of this machine; of one of ``--tier`` only what is common to all of that tier."""
    tier = next(tier for tier in planned.tiers if tier.name == planned.tier)
    elsewhere = arguments.tier is not None
    pythons = {cell.python for cell in planned.cells}
    return gate.Facts(
        capacity=Capacity(tier, None if elsewhere else here.ram_bytes, peaks=history.read(arguments.reports).peaks),
        pythons=frozenset(python for python in pythons if elsewhere or interpreters.find(python)),
        available_bytes=tier.ram_bytes if elsewhere else here.available_bytes,
        missing={} if elsewhere else needs.missing(need for cell in planned.cells for need in cell.needs),
        quarantine=tuple(entry for entry in planned.quarantine if not entry.expired(date.today().isoformat())),
        base=planned.inputs.base is not None,
        host=None if elsewhere else host.observe(here.cores, None, measuring=any(cell.exclusive for cell in planned.cells)),
    )


def _show(planned: Plan, facts: gate.Facts, earlier: history.History) -> None:
    print(f"matrix {planned.matrix}, tier {planned.tier}: {len(planned.cells)} cells in {len(planned.environments)} environments")
    decisions = {cell.id: gate.decide(cell, facts) for cell in planned.cells}
    for cell in planned.cells:
        decision = decisions[cell.id]
        print(
            f"  {'runs' if decision.runs else decision.code:15} {cell.id}" + ("" if decision.runs else f": {decision.sentence}")
        )
    for left_out in planned.left_out:
        print(f"left out: {left_out.group}: {left_out.reason}")
    run = [cell for cell in planned.cells if decisions[cell.id].runs]
    print(f"runs here: {len(run)} cells{_about(Debt.of('', run, earlier.seconds))}")
    unpaid = {cell: decision.pays for cell, decision in decisions.items() if not decision.runs}
    for debt in debts(planned, unpaid, earlier.seconds):
        print(f"owed: {debt}")


def _about(debt: Debt) -> str:
    return f", about {format_seconds(debt.seconds)} if they run one by one" if debt.seconds else ""


def _explain(planned: Plan, facts: gate.Facts, name: str) -> None:
    chosen = plan.select(planned, [name])
    for cell in planned.cells:
        if cell.id in chosen:
            decision = gate.decide(cell, facts)
            print(cell.id)
            print(f"  group        {cell.group} ({cell.process}, {cell.gate}), at most {cell.timeout_s:g} s")
            print(f"  tests        {' '.join(cell.tests)}" + (f" -m {cell.marks!r}" if cell.marks else ""))
            for metric in cell.metrics:
                print(
                    f"  compares     {metric.name}: fails beyond {metric.tolerance:.0%} more, passes within {metric.margin:.0%}"
                )
            print(f"  environment  {cell.environment}: Python {cell.python}, dependencies {cell.dependencies}")
            if cell.needs:
                print(f"  needs        {', '.join(cell.needs)}")
            if cell.reruns:
                print(f"  reruns       {cell.reruns}, of what fails by anything but an assertion")
            for entry in planned.quarantine:
                if entry.covers(cell.names):
                    print(f"  quarantined  {entry}")
            if cell.model:
                need = portfolio.need_bytes(cell.model, facts.capacity)
                budget = portfolio.budget_bytes(cell.model.modality, facts.capacity)
                print(f"  model        {cell.model.model_id} ({cell.model.origin}, {cell.model.family})")
                told = "more than is safe on any budget" if math.isinf(need) else f"needs {format_bytes(need)}"
                print(f"  memory       {told} of {format_bytes(budget)}")
                print(f"  free now     {format_bytes(facts.available_bytes)}")
            print(
                f"  here         {'runs' if decision.runs else f'{decision.code}: {decision.sentence}; paid by {decision.pays}'}"
            )
