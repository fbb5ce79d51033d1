"""Runs the cells of one environment one after another: gates each, attempts it, and journals what became of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from qualification import attempt, bundle, gate, journal, machine, plan, records, wheel
from qualification.attempt import Attempt, Order
from qualification.bundle import Bundle
from qualification.errors import EnvironmentUnfitError, UsageError
from qualification.matrix import nearest
from qualification.outcome import Judged
from qualification.plan import Cell, Plan
from qualification.units import format_bytes, format_seconds


@dataclass(frozen=True, slots=True)
class Job:
    """One environment of one bundle.

    ``python`` is its interpreter: None where this machine has none of that version, or where the environment could not be
    made, and then ``unfit`` says why. ``wheel`` is what must be installed in it. The run ends when ``starter``, the process
    that began it, does. ``resume`` leaves cells alone that have ended.
    """

    bundle: Bundle
    project: Path
    environment: str
    python: Path | None
    unfit: str = ""
    wheel: Path | None = None
    only: tuple[str, ...] = ()
    resume: bool = False
    starter: int = field(default_factory=os.getppid)


def run(job: Job, tell: Callable[[str], None]) -> None:
    """Accounts for every cell of the job's environment: each is gated with its reason, or run and named by its outcome.

    ``tell`` gets each cell's name when it begins, and what became of it when it is over, for a person to read.
    """
    planned = bundle.load_plan(job.bundle)
    if job.environment not in planned.environments:
        raise UsageError(f"{job.environment} is no environment of this plan{nearest(job.environment, planned.environments)}")
    bundle.unseal(job.bundle)
    records.mend(job.bundle.tests)
    cells = [cell for cell in planned.cells if cell.environment == job.environment]
    unfit = job.unfit or _unfit(job)
    selected = plan.select(planned, job.only) if job.only else None
    ended = _ended(job) if job.resume else frozenset()
    for number, cell in enumerate(cells, start=1):
        if cell.id in ended:
            tell(f"{number}/{len(cells)} {cell.id} has ended before")
            continue
        tell(f"{number}/{len(cells)} {cell.id}")
        tell(f"    {_account(job, planned, cell, selected, unfit)}")


def _ended(job: Job) -> frozenset[str]:
    """Cells whose last attempt came to an end of its own, whatever the end was."""
    last = {
        event["cell"]: event for event in journal.read(job.bundle.journal) if event["event"] in ("cell_started", "cell_finished")
    }
    return frozenset(cell for cell, event in last.items() if event.get("outcome", "interrupted") != "interrupted")


def _unfit(job: Job) -> str:
    """Why the environment is not the one that the plan means; empty when it is."""
    if job.python is None or job.wheel is None:
        return ""
    try:
        wheel.check_installed(job.wheel, job.python)
    except EnvironmentUnfitError as error:
        return str(error)
    return ""


def _account(job: Job, planned: Plan, cell: Cell, selected: frozenset[str] | None, unfit: str) -> str:
    """Gates or runs one cell, journals what became of it, and says so in a few words."""
    decision = gate.decide(cell, _facts(job, planned, cell, selected))
    if not decision.runs:
        journal.append(
            job.bundle.journal,
            "cell_gated",
            cell=cell.id,
            code=decision.code,
            sentence=decision.sentence,
            pays=decision.pays,
        )
        return f"not here: {decision.sentence}"
    number = 1 + sum(event["event"] == "cell_started" and event["cell"] == cell.id for event in journal.read(job.bundle.journal))
    journal.append(job.bundle.journal, "cell_started", cell=cell.id, attempt=number)
    started = time.monotonic()
    made = Attempt(Judged("harness_error", unfit)) if unfit else attempt.make(_order(job, cell, number))
    duration_s = time.monotonic() - started
    journal.append(
        job.bundle.journal,
        "cell_finished",
        cell=cell.id,
        attempt=number,
        outcome=made.judged.outcome,
        reason=made.judged.reason,
        duration_s=round(duration_s, 3),
        peak_bytes=made.peak_bytes,
        tests={"collected": made.collected, "recorded": len(made.tests), "sha256": records.digest(made.tests)},
        log=job.bundle.log(cell.id, number).relative_to(job.bundle.root).as_posix(),
    )
    facts = f"{len(made.tests)} tests, {format_seconds(duration_s)}, {format_bytes(made.peak_bytes)}"
    return f"{made.judged.outcome} ({facts})" + (f": {made.judged.reason}" if made.judged.reason else "")


def _order(job: Job, cell: Cell, number: int) -> Order:
    assert job.python is not None, "the gate lets no cell through without an interpreter"
    return Order(
        cell=cell,
        number=number,
        run=job.bundle.run_id,
        project=job.project,
        python=job.python,
        tests=job.bundle.tests,
        memory=job.bundle.memory,
        log=job.bundle.log(cell.id, number),
        starter=job.starter,
    )


def _facts(job: Job, planned: Plan, cell: Cell, selected: frozenset[str] | None) -> gate.Facts:
    here = machine.observe()
    return gate.Facts(
        tier=machine.tier_of(here.ram_bytes, planned.tiers),
        pythons=frozenset({cell.python} if job.python or job.unfit else ()),
        available_bytes=here.available_bytes,
        selected=selected,
    )
