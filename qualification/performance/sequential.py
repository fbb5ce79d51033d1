"""Slower, not slower, or not known: when to look at the pairs, and what may be said at each look.

Who looks several times and stops when he likes what he sees errs more often than each look does. So the error is spread: each
look has its share, and together they stay within it, however the looks depend on each other (Bonferroni's inequality).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from qualification.performance.signed_rank import Estimate, estimate

Answer = Literal["PASS", "FAIL", "INCONCLUSIVE"]


@dataclass(frozen=True, slots=True)
class Rules:
    """``tolerance`` and ``margin`` as shares: 0.03 is 3 % slower. Between them either answer is right enough.

    Over all looks, FAIL for what is within the tolerance has at most the probability ``error``, and so has PASS for what is
    beyond the margin.
    """

    tolerance: float = 0.03
    margin: float = 0.08
    looks: tuple[int, ...] = (9, 12, 15, 18)
    error: float = 0.025


@dataclass(frozen=True, slots=True)
class Finding:
    """How much more the candidate takes, as ratios to the base (1.1 is 10 % more), and what follows from it."""

    answer: Answer
    ratio: float
    low: float
    high: float
    pairs: int

    @property
    def sentence(self) -> str:
        return f"{self.ratio:.3f} x [{self.low:.3f}, {self.high:.3f}] in {self.pairs} pairs: {self.answer}"


def look(candidate: Sequence[float], base: Sequence[float], rules: Rules) -> Finding:
    """What the pairs so far say, where less is better.

    FAIL where the whole interval is beyond the tolerance, PASS where the whole of it is within the margin, else INCONCLUSIVE.
    Raises ``ValueError`` for samples that are no pairs, or not above zero.
    """
    if len(candidate) != len(base) or not base or min(*candidate, *base) <= 0:
        raise ValueError(f"pairs of times above zero are compared, not {list(candidate)} with {list(base)}")
    logs = [math.log(mine / other) for mine, other in zip(candidate, base, strict=True)]
    found = estimate(logs, rules.error / len(rules.looks))
    return Finding(_answer(found, rules), math.exp(found.middle), math.exp(found.low), math.exp(found.high), found.pairs)


def _answer(found: Estimate, rules: Rules) -> Answer:
    if found.low > math.log1p(rules.tolerance):
        return "FAIL"
    return "PASS" if found.high < math.log1p(rules.margin) else "INCONCLUSIVE"


def decide(candidate: Sequence[float], base: Sequence[float], rules: Rules) -> Finding:
    """The first look that gives an answer, or the last one, at samples that are all there. Fewer than a first look raise."""
    findings = [look(candidate[:pairs], base[:pairs], rules) for pairs in rules.looks if pairs <= len(base)]
    if not findings:
        raise ValueError(f"{len(base)} pairs are fewer than the first look takes, {rules.looks[0]}")
    return next((finding for finding in findings if finding.answer != "INCONCLUSIVE"), findings[-1])
