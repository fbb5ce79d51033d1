"""What a few measurements say of the value behind them: the median, and how far it may be off, whatever their distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import median

_ERROR = 0.05


@dataclass(frozen=True, slots=True)
class Spread:
    """``low`` and ``high`` hold the true median in 95 of 100 cases; None where so few values cannot say."""

    count: int
    median: float
    low: float | None
    high: float | None
    values: tuple[float, ...]


def of(values: Sequence[float]) -> Spread | None:
    """None where there is nothing. Six values are the fewest that bound a median at 95 %: 2 × 0.5⁶ is 3 %.

    The bounds are order statistics: the k-th from either end, with the largest k for which the binomial tail stays below.
    """
    if not values:
        return None
    ordered = tuple(sorted(values))
    count = len(ordered)
    tail, k = 0.0, 0
    while 2 * (tail := tail + math.comb(count, k) / 2**count) <= _ERROR:
        k += 1
    low, high = (ordered[k - 1], ordered[count - k]) if k else (None, None)
    return Spread(count, median(ordered), low, high, ordered)


@dataclass(frozen=True, slots=True)
class Ratio:
    """New over old; the interval as in ``Spread``. ``1.1`` with ``1.05 … 1.15`` is a tenth more, and surely more."""

    ratio: float
    low: float | None
    high: float | None

    @property
    def certain(self) -> bool:
        """Whether the interval leaves out "no change"."""
        return self.low is not None and self.high is not None and not self.low <= 1 <= self.high


def ratio(old: Sequence[float], new: Sequence[float]) -> Ratio | None:
    """Hodges–Lehmann estimate of new over old with the exact rank-sum interval; None unless both have positive values only.

    Both sides are independent samples. Source: Hollander and Wolfe, Nonparametric Statistical Methods, sections 4.2 and 4.3.
    """
    if not old or not new or min(*old, *new) <= 0:
        return None
    differences = sorted(math.log(b) - math.log(a) for a in old for b in new)
    estimate = math.exp(median(differences))
    k = _smallest_rank(len(old), len(new))
    if k == 0:
        return Ratio(estimate, None, None)
    return Ratio(estimate, math.exp(differences[k - 1]), math.exp(differences[-k]))


@cache
def _smallest_rank(first: int, second: int) -> int:
    """The largest k for which the Mann–Whitney statistic stays below k with at most 2.5 %; 0 where none does.

    Above 400 pairs by the normal approximation, which is exact to a rank there.
    """
    pairs = first * second
    if pairs > 400:
        return max(0, math.floor(pairs / 2 - 1.959964 * math.sqrt(pairs * (first + second + 1) / 12)))
    ways = _rank_sums(first, second)
    total = math.comb(first + second, first)
    tail, k = 0, 0
    while 2 * (tail := tail + ways[k]) <= _ERROR * total:
        k += 1
    return k


def _rank_sums(first: int, second: int) -> list[int]:
    """How many of the orders of two samples give the Mann–Whitney statistic 0, 1, 2 …: coefficients of a Gaussian binomial."""
    ways = [1] + [0] * (first * second)
    for size in range(1, first + 1):
        ways = _divided(_multiplied(ways, second + size), size)
    return ways


def _multiplied(ways: list[int], power: int) -> list[int]:
    """Times (1 − q^power), cut to the same length."""
    return [way - (ways[index - power] if index >= power else 0) for index, way in enumerate(ways)]


def _divided(ways: list[int], power: int) -> list[int]:
    """By (1 − q^power)."""
    result: list[int] = []
    for index, way in enumerate(ways):
        result.append(way + (result[index - power] if index >= power else 0))
    return result
