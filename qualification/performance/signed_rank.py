"""The typical difference within pairs, and an interval for it that holds exactly at any number of pairs.

Estimate and interval are those of Hodges and Lehmann (Annals of Mathematical Statistics 34, 1963), which invert Wilcoxon's
signed-rank test: order the averages of all two differences (Walsh's), take their median, and cut as many from either end as the
distribution of the rank sum allows. Nothing is assumed about the noise but that a difference is as likely to be above the
typical one as below it by the same amount, and that pairs do not depend on each other.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True, slots=True)
class Estimate:
    """The typical difference, and bounds that each err with at most the probability that was asked for."""

    middle: float
    low: float
    high: float
    pairs: int


def estimate(differences: Sequence[float], error: float) -> Estimate:
    """``low`` lies above the truth with probability at most ``error``, and so does ``high`` lie below it.

    A bound is infinite where there are too few pairs for ``error``: 1 in 2**pairs is the least that they can have.
    Raises ``ValueError`` for no differences, for one that is not finite, and for an error outside 0 to 1/2.
    """
    if not differences or not all(map(math.isfinite, differences)):
        raise ValueError(f"differences must be finite numbers, at least one: {list(differences)}")
    if not 0 < error < 0.5:
        raise ValueError(f"the probability of an error lies between 0 and 1/2, not at {error}")
    averages = sorted((one + other) / 2 for index, one in enumerate(differences) for other in differences[index:])
    cut = _cut(len(differences), error)
    low, high = (averages[cut], averages[-1 - cut]) if cut >= 0 else (-math.inf, math.inf)
    return Estimate(statistics.median(averages), low, high, len(differences))


def _cut(pairs: int, error: float) -> int:
    """How many averages to cut from either end: the largest rank sum whose lower tail is at most ``error``, or -1."""
    ways = _ways(pairs)
    allowed = math.floor(error * 2**pairs * (1 + 1e-12))
    reached = 0
    for rank_sum, count in enumerate(ways):
        reached += count
        if reached > allowed:
            return rank_sum - 1
    return len(ways) - 1


@cache
def _ways(pairs: int) -> tuple[int, ...]:
    """In how many of the 2**pairs ways of giving signs to the ranks 1 to ``pairs`` the positive ones sum to 0, 1, 2 …"""
    ways = [1] + [0] * (pairs * (pairs + 1) // 2)
    for rank in range(1, pairs + 1):
        for total in range(len(ways) - 1, rank - 1, -1):
            ways[total] += ways[total - rank]
    return tuple(ways)
