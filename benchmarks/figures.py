"""What a figure is: samples of ours beside samples of its reference, and the bar that it is held to."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import Literal

from qualification.performance import signed_rank

Unit = Literal["s", "ms", "MB", "tokens/s", "requests/s", "bytes", "count"]


@dataclass(frozen=True, slots=True)
class Bar:
    """A limit on the ratio to the reference, on the difference from it, or on our figure itself (in its unit)."""

    of: Literal["ratio", "difference", "figure"]
    sense: Literal["at most", "at least"]
    limit: float

    def holds(self, value: float) -> bool:
        return value <= self.limit if self.sense == "at most" else value >= self.limit


def at_most(limit: float, of: Literal["ratio", "difference", "figure"] = "ratio") -> Bar:
    return Bar(of, "at most", limit)


def at_least(limit: float, of: Literal["ratio", "difference", "figure"] = "ratio") -> Bar:
    return Bar(of, "at least", limit)


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: samples in ``unit``, ``ours[i]`` measured beside ``theirs[i]``. Raises ``ValueError`` where not."""

    what: str
    unit: Unit
    ours: tuple[float, ...]
    reference: str
    theirs: tuple[float, ...]
    bar: Bar | None = None

    def __post_init__(self) -> None:
        if not self.ours or len(self.ours) != len(self.theirs):
            raise ValueError(f"{self.what}: {len(self.ours)} samples of ours beside {len(self.theirs)} of {self.reference}")

    @property
    def ratio(self) -> float:
        """Ours to theirs, as the median over the pairs."""
        return statistics.median(mine / other for mine, other in zip(self.ours, self.theirs, strict=True))

    @property
    def interval(self) -> tuple[float, float] | None:
        """Where the ratio lies with 95 % confidence; None for fewer than six pairs, or what is not above zero."""
        if len(self.ours) < 6 or min(*self.ours, *self.theirs) <= 0:
            return None
        logs = [math.log(mine / other) for mine, other in zip(self.ours, self.theirs, strict=True)]
        found = signed_rank.estimate(logs[:200], error=0.025)
        return math.exp(found.low), math.exp(found.high)

    @property
    def difference(self) -> float:
        """Ours less theirs in ``unit``, as the median over the pairs."""
        return statistics.median(mine - other for mine, other in zip(self.ours, self.theirs, strict=True))

    @property
    def figure(self) -> float:
        """The median of ours, in ``unit``."""
        return statistics.median(self.ours)

    @property
    def reference_figure(self) -> float:
        """The median of theirs, in ``unit``."""
        return statistics.median(self.theirs)

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None where there is none."""
        return (
            None
            if self.bar is None
            else self.bar.holds({"ratio": self.ratio, "difference": self.difference}.get(self.bar.of, self.figure))
        )
