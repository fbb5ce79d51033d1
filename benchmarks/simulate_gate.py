"""Shows by simulation how often the release gate is wrong: on noise like that of real machines, with and without a slowdown.

``python benchmarks/simulate_gate.py`` takes about a minute of one core; the same seed gives the same figures.
Beside it stands the rule that most projects use: one baseline measured another day, and an alarm at 20 % above it.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qualification.performance.sequential import Rules, decide

SLOWDOWNS = (0.0, 0.05, 0.10, 0.15)


@dataclass(frozen=True, slots=True)
class Noise:
    """One kind of machine; all as shares of the time: what each run varies by, what drifts slowly, and how often one is late."""

    name: str
    each: float
    drift: float
    late: float
    day: float
    """By how much one day's level differs from another's: heat, background work, another build of the system."""


NOISES = (
    Noise("a quiet machine", each=0.02, drift=0.005, late=0.00, day=0.02),
    Noise("a laptop in use", each=0.04, drift=0.02, late=0.03, day=0.06),
    Noise("a shared machine of a CI", each=0.07, drift=0.03, late=0.08, day=0.10),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--releases", type=int, default=600, help="simulated comparisons for each line (default: 600)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file too")
    arguments = parser.parse_args()
    lines = simulate(arguments.releases, arguments.seed)
    print(f"{'noise':26}{'slower by':>10}{'FAIL':>8}{'PASS':>8}{'not known':>11}{'pairs':>7}{'baseline + 20 % alarms':>24}")
    for each in lines:
        print(
            f"{each['noise']:26}{each['slowdown']:>10.0%}{each['FAIL']:>8.1%}{each['PASS']:>8.1%}"
            f"{each['INCONCLUSIVE']:>11.1%}{each['pairs']:>7.1f}{each['baseline_alarms']:>24.1%}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")


def simulate(releases: int = 600, seed: int = 1) -> list[dict[str, Any]]:
    """One line for each kind of noise and each slowdown."""
    return [
        line(noise, slowdown, releases, random.Random(f"{seed} {noise.name} {slowdown}"))
        for noise in NOISES
        for slowdown in SLOWDOWNS
    ]


def for_markdown(lines: Sequence[Mapping[str, Any]]) -> str:
    header = (
        "| noise | slower by | FAIL | PASS | not known | pairs | alarms of a baseline + 20 % |\n|---|---|---|---|---|---|---|"
    )
    told = [
        f"| {each['noise']} | {each['slowdown']:.0%} | {each['FAIL']:.1%} | {each['PASS']:.1%} | {each['INCONCLUSIVE']:.1%} "
        f"| {each['pairs']:.1f} | {each['baseline_alarms']:.1%} |"
        for each in lines
    ]
    return "\n".join((header, *told))


def line(noise: Noise, slowdown: float, releases: int, chance: random.Random) -> dict[str, Any]:
    """Shares of ``releases`` simulated comparisons that end in each answer."""
    rules = Rules()
    answers: Counter[str] = Counter()
    pairs = alarms = 0
    for _ in range(releases):
        base, candidate = _measure(noise, slowdown, rules.looks[-1], chance)
        found = decide(candidate, base, rules)
        answers[found.answer] += 1
        pairs += found.pairs
        alarms += _baseline_alarms(noise, slowdown, chance)
    return {
        "noise": noise.name,
        "slowdown": slowdown,
        **{answer: answers[answer] / releases for answer in ("FAIL", "PASS", "INCONCLUSIVE")},
        "pairs": pairs / releases,
        "baseline_alarms": alarms / releases,
    }


def _measure(noise: Noise, slowdown: float, pairs: int, chance: random.Random) -> tuple[list[float], list[float]]:
    """Times of base and candidate, taken in turns as base, candidate, candidate, base."""
    sample = _clock(noise, chance)
    base, candidate = [], []
    for number in range(pairs):
        order = ((base, 0.0), (candidate, slowdown))
        for samples, slower in reversed(order) if number % 2 else order:
            samples.append(sample() * (1 + slower))
    return base, candidate


def _clock(noise: Noise, chance: random.Random) -> Callable[[], float]:
    """What a run takes that should take 1: noise of its own, a level that wanders, and now and then far too long."""
    level = 0.0

    def sample() -> float:
        nonlocal level
        level += chance.gauss(0, noise.drift)
        late = chance.expovariate(1 / 0.3) if chance.random() < noise.late else 0.0
        return math.exp(level + chance.gauss(0, noise.each)) + late

    return sample


def _baseline_alarms(noise: Noise, slowdown: float, chance: random.Random) -> bool:
    """Whether the mean of ten runs of today lies 20 % above the mean of ten runs of another day."""
    days = [math.exp(chance.gauss(0, noise.day)) for _ in range(2)]
    stored, today = (day * sum(_clock(noise, chance)() for _ in range(10)) / 10 for day in days)
    return today * (1 + slowdown) > 1.20 * stored


if __name__ == "__main__":
    main()
