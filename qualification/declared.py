"""What a matrix declares, as frozen data: tiers, groups, and what must have passed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Axis = Literal["python", "dependencies", "tier"]
Gate = Literal["blocker", "major", "minor"]
Modality = Literal["text", "vision", "audio"]
Portfolio = Literal["text", "vision", "audio", "perf"]
"""The models of a modality, or those that speed is measured on."""
Need = Literal["hub", "network", "credentials"]
Process = Literal["wet", "separate", "shuffled"]
Source = Literal["auto", "discovered", "fallback", "minted"]


DEFAULT_MEMORY_BYTES = 4 << 30
"""Generous for Python, pytest and several ML runtimes at a time, and yet far from what brings a machine down."""


@dataclass(frozen=True, slots=True)
class Tier:
    """A class of machines by memory; shares are fractions of ``ram_bytes``."""

    name: str
    ram_bytes: int
    text_budget: float
    vision_limit: float
    audio_floor_bytes: int


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure that must not be worse than that of the release before; both as shares, 0.03 is 3 % more.

    It fails where it is more than ``tolerance`` worse, and passes where it is less than ``margin`` worse, beyond doubt.
    """

    name: str
    tolerance: float
    margin: float


@dataclass(frozen=True, slots=True)
class Group:
    """Tests that run under one rule; ``tests`` are paths below the project's root."""

    name: str
    process: Process
    tests: tuple[str, ...]
    marks: str | None
    for_each: Portfolio | None
    over: tuple[Axis, ...]
    gate: Gate
    timeout_s: float
    cpu: bool = False
    """Needs no model, so that its cells may run beside each other."""
    memory_bytes: int = DEFAULT_MEMORY_BYTES
    """What its processes take beside the model."""
    reruns: int = 0
    """How often a test that failed by anything but an assertion may be run again."""
    needs: tuple[Need, ...] = ()
    exclusive: bool = False
    """Measures, so that it runs on a quiet machine only."""
    metrics: tuple[Metric, ...] = ()
    """What it compares with the release before."""


@dataclass(frozen=True, slots=True)
class Require:
    """What must have passed for the release to qualify; ``families`` gives each modality its least number of them.

    ``flaky`` is how many tests may have passed only when they were run again.
    """

    pythons: tuple[str, ...]
    tiers: tuple[str, ...]
    groups: tuple[str, ...]
    families: tuple[tuple[Modality, int], ...]
    flaky: int = 0


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A known failure that somebody owns, excused until the day ``expires`` (an ISO date) is over.

    ``test`` is a node id, without parameters for all of them; ``cell`` is the id, group, environment or model of cells. With a
    test its failures are excused, in those cells or everywhere; without one the cells are not run.
    """

    owner: str
    reason: str
    issue: str
    expires: str
    test: str | None = None
    cell: str | None = None

    def expired(self, day: str) -> bool:
        return day > self.expires

    def excuses(self, test: str) -> bool:
        return self.test is not None and (test == self.test or test.startswith(f"{self.test}["))

    def covers(self, names: frozenset[str]) -> bool:
        """Whether it is about a cell of these names."""
        return self.cell is None or self.cell in names

    def __str__(self) -> str:
        about = " in ".join(part for part in (self.test, self.cell) if part)
        return f"{about} until {self.expires} ({self.owner}: {self.reason}, {self.issue})"


@dataclass(frozen=True, slots=True)
class Matrix:
    """One matrix file, checked; ``sha256`` is of its bytes and of those of its quarantine."""

    name: str
    about: str
    sha256: str
    pythons: tuple[str, ...]
    dependencies: tuple[str, ...]
    tiers: tuple[Tier, ...]
    source: Source
    groups: tuple[Group, ...]
    require: Require
    minted: tuple[str, ...] | None = None
    """Families to mint where models are minted; None for all."""
    quarantine: tuple[Quarantined, ...] = ()
