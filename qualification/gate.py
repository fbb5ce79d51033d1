"""Decides whether a cell may run here: a pure function of the cell and of facts, with a reason for every refusal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from qualification import host, needs, portfolio
from qualification.declared import Need, Quarantined, Tier
from qualification.host import Host
from qualification.interpreters import missing_sentence
from qualification.plan import Cell
from qualification.portfolio import Capacity
from qualification.units import format_bytes

Code = Literal[
    "runs",
    "not_selected",
    "tier_elsewhere",
    "quarantined",
    "hub_missing",
    "network_missing",
    "credentials_missing",
    "python_missing",
    "environment_missing",
    "base_missing",
    "host_unfit",
    "ram",
    "memory_busy",
    "not_quiet",
]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of this machine and this invocation before a cell starts.

    ``selected`` is None when nothing was selected, so that everything runs. ``capacity`` is the memory that models may use, and
    ``available_bytes`` what is free for use now. ``quarantine`` are the entries that are in force today, ``missing`` the needs
    that are not met, ``no_environment`` is why the cell's environment cannot exist here, and ``base`` whether the release before
    is there to compare with. ``host`` is None where no machine is
    looked at, as in planning for another one.
    """

    capacity: Capacity
    pythons: frozenset[str]
    available_bytes: int
    selected: frozenset[str] | None = None
    quarantine: tuple[Quarantined, ...] = ()
    missing: Mapping[Need, str] = field(default_factory=dict)
    no_environment: str = ""
    base: bool = False
    host: Host | None = None

    @property
    def tier(self) -> Tier:
        return self.capacity.tier


@dataclass(frozen=True, slots=True)
class Decision:
    """``code`` is ``runs``, or why not; ``sentence`` says it, and ``pays`` what would settle the debt."""

    code: Code
    sentence: str = ""
    pays: str = ""

    @property
    def runs(self) -> bool:
        return self.code == "runs"


def decide(cell: Cell, facts: Facts) -> Decision:
    """In this order, and the first refusal is the reason: selection, whether it applies here, quarantine, credentials and
    network, environment, the host's health, memory, and quiet.
    """
    steps = (_selection, _applies, _quarantine, _needs, _environment, _health, _memory, _quiet)
    return next((refusal for step in steps if (refusal := step(cell, facts))), Decision("runs"))


def _selection(cell: Cell, facts: Facts) -> Decision | None:
    if facts.selected is None or cell.id in facts.selected:
        return None
    return Decision("not_selected", "it was not selected by --only", "a run without --only")


def _applies(cell: Cell, facts: Facts) -> Decision | None:
    if cell.tier is None or cell.tier == facts.tier.name:
        return None
    sentence = f"it is owed on a {cell.tier} machine; this one is {facts.tier.name}"
    return Decision("tier_elsewhere", sentence, f"a {cell.tier} machine")


def _quarantine(cell: Cell, facts: Facts) -> Decision | None:
    for entry in facts.quarantine:
        if entry.test is None and entry.covers(cell.names):
            return Decision("quarantined", f"quarantined: {entry}", f"whoever settles {entry.issue}")
    return None


_MISSING: dict[Need, Code] = {"hub": "hub_missing", "network": "network_missing", "credentials": "credentials_missing"}


def _needs(cell: Cell, facts: Facts) -> Decision | None:
    for need in cell.needs:
        if need in facts.missing:
            return Decision(_MISSING[need], facts.missing[need], needs.pays(need))
    return None


_NO_BASE = "it is compared with the release before, and which one that is nobody said, nor does the history of this folder"


def _environment(cell: Cell, facts: Facts) -> Decision | None:
    if cell.python not in facts.pythons:
        return Decision("python_missing", missing_sentence(cell.python), f"a machine with Python {cell.python}")
    if facts.no_environment:
        return Decision("environment_missing", facts.no_environment, "a machine that can make this environment")
    if cell.metrics and not facts.base:
        return Decision("base_missing", _NO_BASE, "a run with BASE=<wheel|tag>, or with BASE=first where none came before")
    return None


def _health(cell: Cell, facts: Facts) -> Decision | None:
    problem = host.problem(facts.host, runs_model=cell.model is not None) if facts.host else ""
    return Decision("host_unfit", problem, "this machine in good health") if problem else None


def _memory(cell: Cell, facts: Facts) -> Decision | None:
    if cell.model is None:
        return None
    tier = facts.tier
    need = portfolio.need_bytes(cell.model, facts.capacity)
    budget = portfolio.budget_bytes(cell.model.modality, facts.capacity)
    name = cell.model.model_id
    if math.isinf(need):
        share = f"{tier.vision_limit:.0%} of {format_bytes(facts.capacity.memory_bytes)}"
        return Decision("ram", f"{name} ({format_bytes(cell.model.size_bytes)}) exceeds {share}", "a machine with more memory")
    if need > budget:
        sentence = f"{name} needs {format_bytes(need)} and {_whose(budget, facts)} is {format_bytes(budget)}"
        return Decision("ram", sentence, f"a machine whose budget is {format_bytes(need)}")
    if need > facts.available_bytes:
        sentence = f"{name} needs {format_bytes(need)} and {format_bytes(facts.available_bytes)} are free now"
        return Decision("memory_busy", sentence, f"this machine with {format_bytes(need)} free")
    return None


def _whose(budget: int, facts: Facts) -> str:
    if budget == facts.capacity.working_set_bytes:
        return "what Metal recommends to use"
    return "this tier's budget" if facts.capacity.is_nominal else "this machine's budget"


def _quiet(cell: Cell, facts: Facts) -> Decision | None:
    noise = host.noise(facts.host) if cell.exclusive and facts.host else ""
    return Decision("not_quiet", noise, "this machine with nothing else to do") if noise else None
