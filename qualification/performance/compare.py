"""Measures two sides pair by pair, each in fresh processes, until every figure has an answer or the last look is done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from qualification.performance.sequential import Answer, Finding, Rules, look
from qualification.performance.workload import Sample

SideT = TypeVar("SideT")

EXIT_CODES: Mapping[Answer, int] = {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 5}


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was measured, pair by pair, and what follows for each figure."""

    base: tuple[Sample, ...]
    candidate: tuple[Sample, ...]
    findings: Mapping[str, Finding]

    @property
    def answer(self) -> Answer:
        """FAIL where any figure fails, PASS where all pass, else INCONCLUSIVE."""
        answers = {finding.answer for finding in self.findings.values()}
        if "FAIL" in answers:
            return "FAIL"
        return "PASS" if answers == {"PASS"} else "INCONCLUSIVE"


def compare(
    base: SideT,
    candidate: SideT,
    measure: Callable[[tuple[SideT, SideT]], tuple[Sample, Sample]],
    rules: Mapping[str, Rules],
    tell: Callable[[str], None] = lambda _line: None,
) -> Comparison:
    """``measure`` takes a sample of each of two sides; which of them comes first changes from pair to pair.

    Judged are the figures of ``rules``, each by its own; all have the same looks. The first pair is not counted, so that neither
    side finds its files and caches cold.
    """
    measure((base, candidate))
    theirs: list[Sample] = []
    ours: list[Sample] = []
    findings: dict[str, Finding] = {}
    for pairs in next(iter(rules.values())).looks:
        while len(theirs) < pairs:
            turned = len(theirs) % 2 == 1
            one, other = measure((candidate, base) if turned else (base, candidate))
            theirs.append(other if turned else one)
            ours.append(one if turned else other)
        for metric in _open(rules, findings):
            findings[metric] = look([each[metric] for each in ours], [each[metric] for each in theirs], rules[metric])
        for metric, finding in findings.items():
            if finding.pairs == pairs:
                tell(f"{metric:14} {finding.sentence}")
        if not _open(rules, findings):
            break
    return Comparison(tuple(theirs), tuple(ours), findings)


def _open(metrics: Iterable[str], findings: Mapping[str, Finding]) -> list[str]:
    """The figures that have no answer yet."""
    return [metric for metric in metrics if metric not in findings or findings[metric].answer == "INCONCLUSIVE"]
