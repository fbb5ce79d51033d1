"""The verdict as a person reads it on a terminal: the word first, then why, then where to look."""

from __future__ import annotations

from collections.abc import Iterator

from qualification.plan import Plan
from qualification.verdict import Verdict


def render(plan: Plan, verdict: Verdict, index: str, seal: str = "") -> str:
    """Plain text, one line for each reason; ``seal`` is the manifest's sha256, which the release's tag may quote."""
    return "\n".join(plain(line) for line in _lines(plan, verdict, index, seal))


def plain(line: str) -> str:
    """Nothing that a test's output holds can move the cursor or colour a word."""
    return "".join(char if char.isprintable() else " " for char in line)


def _lines(plan: Plan, verdict: Verdict, index: str, seal: str) -> Iterator[str]:
    counts = ", ".join(f"{number} {outcome}" for outcome, number in verdict.counts.items()) or "no cells"
    tests = sum(cell.tests for cell in verdict.cells)
    yield f"{verdict.word}: matrix {plan.matrix}, tier {plan.tier}, {len(verdict.cells)} cells ({counts}), {tests} tests"
    if plan.inputs.wheel:
        yield f"  examined: {plan.inputs.wheel} (sha256 {(plan.inputs.wheel_sha256 or '')[:12]})"
    for reason in verdict.reasons:
        evidence = f" [{', '.join(reason.evidence)}]" if reason.evidence else ""
        yield f"  {reason.weighs} {reason.code}: {reason.sentence}{evidence}"
    yield f"  report: {index}"
    if seal:
        yield f"  sealed: {seal}"
