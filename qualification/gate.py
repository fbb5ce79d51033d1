"""Decides whether a cell may run here: a pure function of the cell and of facts, with a reason for every refusal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from qualification import portfolio
from qualification.declared import Quarantined, Tier
from qualification.interpreters import missing_sentence
from qualification.plan import Cell
from qualification.units import format_bytes

Code = Literal[
    "runs",
    "not_selected",
    "tier_elsewhere",
    "quarantined",
    "python_missing",
    "ram",
    "memory_busy",
]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of this machine and this invocation before a cell starts.

    ``selected`` is None when nothing was selected, so that everything runs. ``available_bytes`` is memory free for use now.
    ``quarantine`` are the entries that are in force today.
    """

    tier: Tier
    pythons: frozenset[str]
    available_bytes: int
    selected: frozenset[str] | None = None
    quarantine: tuple[Quarantined, ...] = ()


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
    """Selection, then applicability here, quarantine, environment, memory: the first refusal is the reason."""
    if facts.selected is not None and cell.id not in facts.selected:
        return Decision("not_selected", "it was not selected by --only", "a run without --only")
    if cell.tier is not None and cell.tier != facts.tier.name:
        return Decision(
            "tier_elsewhere",
            f"it is owed on a {cell.tier} machine; this one is {facts.tier.name}",
            f"a {cell.tier} machine",
        )
    for entry in facts.quarantine:
        if entry.test is None and entry.covers(cell.names):
            return Decision("quarantined", f"quarantined: {entry}", f"whoever settles {entry.issue}")
    if cell.python not in facts.pythons:
        return Decision("python_missing", missing_sentence(cell.python), f"a machine with Python {cell.python}")
    return _memory(cell, facts)


def _memory(cell: Cell, facts: Facts) -> Decision:
    if cell.model is None:
        return Decision("runs")
    need = portfolio.need_bytes(cell.model, facts.tier)
    budget = portfolio.budget_bytes(cell.model.modality, facts.tier)
    name = cell.model.model_id
    if math.isinf(need):
        share = f"{facts.tier.vision_limit:.0%} of {format_bytes(facts.tier.ram_bytes)}"
        return Decision("ram", f"{name} ({format_bytes(cell.model.size_bytes)}) exceeds {share}", "a machine with more memory")
    if need > budget:
        sentence = f"{name} needs {format_bytes(need)} and this tier's budget is {format_bytes(budget)}"
        return Decision("ram", sentence, f"a machine whose budget is {format_bytes(need)}")
    if need > facts.available_bytes:
        sentence = f"{name} needs {format_bytes(need)} and {format_bytes(facts.available_bytes)} are free now"
        return Decision("memory_busy", sentence, f"this machine with {format_bytes(need)} free")
    return Decision("runs")
