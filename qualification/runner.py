"""Runs the cells of one environment one after another: gates each, attempts it, and journals what became of it."""

from __future__ import annotations

import math
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from qualification import (
    attempt,
    bundle,
    gate,
    history,
    host,
    journal,
    machine,
    needs,
    plan,
    portfolio,
    records,
    supervise,
    waiting,
    wheel,
)
from qualification.attempt import Attempt, Order
from qualification.bundle import Bundle
from qualification.declared import Need, Quarantined
from qualification.errors import EnvironmentUnfitError, UsageError, nearest
from qualification.forkserver import ForkServer
from qualification.history import History
from qualification.outcome import Judged
from qualification.performance.environments import Releases
from qualification.plan import Cell, Plan
from qualification.portfolio import Capacity
from qualification.progress import Watch
from qualification.units import format_bytes, format_seconds


@dataclass(frozen=True, slots=True)
class Job:
    """One environment of one bundle.

    ``python`` is its interpreter: None where this machine has none of that version, where the environment could not be made
    (``unfit`` says why), or where nobody tried to make it (``absent`` says why). ``wheel`` is what must be installed in it. The
    run ends when ``starter``, the process that began it, does. ``resume`` leaves cells alone that have ended. ``changed`` tells
    what differs from the plan's inputs. ``releases`` are the two whose speed is compared, None where there is no earlier one.
    """

    bundle: Bundle
    project: Path
    environment: str
    python: Path | None
    unfit: str = ""
    absent: str = ""
    wheel: Path | None = None
    only: tuple[str, ...] = ()
    resume: bool = False
    changed: Callable[[], tuple[str, ...]] = tuple
    releases: Releases | None = None
    starter: int = field(default_factory=os.getppid)


def run(job: Job, watch: Watch) -> None:
    """Accounts for every cell of the job's environment: each is gated with its reason, or run and named by its outcome.

    Cells that need no model, or a minted one, run beside each other; then the others, one after another, because models
    share one memory. ``watch`` is told of each cell when it begins, and what became of it when it is over.
    """
    if changed := job.changed():
        raise UsageError(f"changed since the plan was made: {', '.join(changed)}; `make qualify` plans anew")
    with bundle.claimed(job.bundle), supervise.supervisors(str(job.bundle.root)) as supervisors:
        _run(job, watch, supervisors)


def _run(job: Job, watch: Watch, supervisors: ForkServer) -> None:
    planned = bundle.load_plan(job.bundle)
    if job.environment not in planned.environments:
        raise UsageError(f"{job.environment} is no environment of this plan{nearest(job.environment, planned.environments)}")
    bundle.unseal(job.bundle)
    records.mend(job.bundle.tests)
    ended = _ended(job) if job.resume else frozenset()
    todo = [cell for cell in planned.cells if cell.environment == job.environment and cell.id not in ended]
    selected = plan.select(planned, job.only) if job.only else None
    events = journal.read(job.bundle.journal)
    attempts = Counter(event["cell"] for event in events if event["event"] == "cell_started")
    unfit = job.unfit or _unfit(job)
    known = history.read(job.bundle.root.parent)
    capacity = _capacity(planned, known, None if unfit or not any(cell.model for cell in todo) else job.python)
    missing = needs.missing(need for cell in todo for need in cell.needs)
    accountant = _Accountant(job, planned, selected, unfit, watch, events[0]["at"][:10], capacity, missing, attempts, supervisors)
    watch.planned(todo)
    accountant.account_beside(longest_first([cell for cell in todo if cell.beside], known.seconds))
    for cell in todo:
        if not cell.beside:
            accountant.account(cell)


def longest_first(cells: Sequence[Cell], seconds: Mapping[str, float]) -> list[Cell]:
    """So that all cores are busy until the end; what never ran may be the longest, and keeps the order of the matrix."""
    return sorted(cells, key=lambda cell: -seconds.get(cell.id, math.inf))


@dataclass(frozen=True, slots=True)
class _Accountant:
    """Accounts for single cells; ``unfit`` is why the environment cannot be used, ``stop`` is set when the run is interrupted."""

    job: Job
    planned: Plan
    selected: frozenset[str] | None
    unfit: str
    watch: Watch
    day: str
    capacity: Capacity
    missing: Mapping[Need, str]
    attempts: Counter[str]
    supervisors: ForkServer
    stop: threading.Event = field(default_factory=threading.Event)

    def account_beside(self, cells: Sequence[Cell]) -> None:
        """As many at a time as the machine bears; the first that cannot be accounted for stops them all."""
        with ThreadPoolExecutor(max_workers=machine.observe().at_once) as pool:
            try:
                for accounted in waiting.as_ended([pool.submit(self.account, cell) for cell in cells]):
                    accounted.result()
            except BaseException:
                self.stop.set()
                pool.shutdown(cancel_futures=True)
                raise

    def account(self, cell: Cell) -> None:
        """Gates or attempts one cell, journals what became of it, and says so in a few words."""
        decision = gate.decide(cell, self._facts(cell))
        if decision.runs:
            self.watch.began(cell)
            self.watch.ended(cell, *self._attempt(cell))
            return
        refusal = {"code": decision.code, "sentence": decision.sentence, "pays": decision.pays}
        journal.append(self.job.bundle.journal, "cell_gated", cell=cell.id, **refusal)
        self.watch.ended(cell, "not here", f": {decision.sentence}")

    def _attempt(self, cell: Cell) -> tuple[str, str]:
        log = self.job.bundle.journal
        number = self.attempts[cell.id] = self.attempts[cell.id] + 1
        journal.append(log, "cell_started", cell=cell.id, attempt=number)
        started = time.monotonic()
        made = Attempt(Judged("harness_error", self.unfit)) if self.unfit else attempt.make(self._order(cell, number))
        if changed := self.job.changed():
            made = replace(made, judged=Judged("harness_error", f"changed while it ran: {', '.join(changed)}"))
        duration_s = time.monotonic() - started
        journal.append(
            log,
            "cell_finished",
            cell=cell.id,
            attempt=number,
            outcome=made.judged.outcome,
            reason=made.judged.reason,
            duration_s=round(duration_s, 3),
            peak_bytes=made.peak_bytes,
            tests={"collected": made.collected, "recorded": len(made.tests), "sha256": records.digest(made.tests)},
            log=self.job.bundle.log(cell.id, number).relative_to(self.job.bundle.root).as_posix(),
        )
        counted = "1 test" if len(made.tests) == 1 else f"{len(made.tests)} tests"
        facts = f"{counted}, {format_seconds(duration_s)}, {format_bytes(made.peak_bytes)}"
        return made.judged.outcome, f" ({facts})" + (f": {made.judged.reason}" if made.judged.reason else "")

    def _order(self, cell: Cell, number: int) -> Order:
        assert self.job.python is not None, "the gate lets no cell through without an interpreter"
        return Order(
            cell=cell,
            number=number,
            run=self.job.bundle.run_id,
            project=self.job.project,
            python=self.job.python,
            tests=self.job.bundle.tests,
            memory=self.job.bundle.memory,
            log=self.job.bundle.log(cell.id, number),
            abandoned=self._abandoned,
            need_bytes=self._need_bytes(cell),
            quarantine=tuple(entry for entry in self._quarantine if entry.covers(cell.names)),
            supervisors=self.supervisors,
            releases=self.job.releases,
        )

    @property
    def _quarantine(self) -> tuple[Quarantined, ...]:
        """The entries that are in force on the day that the run began."""
        return tuple(entry for entry in self.planned.quarantine if not entry.expired(self.day))

    def _need_bytes(self, cell: Cell) -> int:
        """What it may hold: its processes' share, and its model's."""
        model = portfolio.need_bytes(cell.model, self.capacity) if cell.model else 0
        return cell.memory_bytes + round(model)

    def _abandoned(self) -> bool:
        return self.stop.is_set() or os.getppid() != self.job.starter

    def _facts(self, cell: Cell) -> gate.Facts:
        here = machine.observe()
        return gate.Facts(
            capacity=self.capacity,
            pythons=frozenset({cell.python} if self.job.python or self.job.unfit or self.job.absent else ()),
            available_bytes=here.available_bytes,
            selected=self.selected,
            quarantine=self._quarantine,
            missing=self.missing,
            no_environment=self.job.absent,
            base=self.job.releases is not None,
            host=host.observe(here.cores, self.job.python, measuring=cell.exclusive),
        )


def _ended(job: Job) -> frozenset[str]:
    """Cells whose last attempt came to an end of its own, whatever the end was."""
    last = {
        event["cell"]: event for event in journal.read(job.bundle.journal) if event["event"] in ("cell_started", "cell_finished")
    }
    return frozenset(cell for cell, event in last.items() if event.get("outcome", "interrupted") != "interrupted")


def _capacity(planned: Plan, known: History, python: Path | None) -> Capacity:
    """``python`` is asked for what Metal recommends; None where no model runs."""
    here = machine.observe()
    return Capacity(
        tier=machine.tier_of(here.ram_bytes, planned.tiers),
        ram_bytes=here.ram_bytes,
        working_set_bytes=machine.working_set_bytes(python) if python else None,
        peaks=known.peaks,
    )


def _unfit(job: Job) -> str:
    """Why the environment is not the one that the plan means; empty when it is."""
    if job.python is None or job.wheel is None:
        return ""
    try:
        wheel.check_installed(job.wheel, job.python)
    except EnvironmentUnfitError as error:
        return str(error)
    return ""
