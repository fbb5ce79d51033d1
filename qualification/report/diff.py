"""What changed from one run to another: outcomes, and performance with intervals; what cannot be compared is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from qualification.errors import UsageError
from qualification.report import spread, summary
from qualification.report.run import Run
from qualification.report.spread import Ratio

_LISTED = 200
_WEIGHT = {"passed": 0, "skipped": 1, "failed": 2}
_MACHINE = ("system", "release", "architecture", "processor", "cores", "ram_bytes")
_HIGHER_IS_BETTER = {
    "generation_tps": True,
    "prompt_tps": True,
    "time_to_first_token_s": False,
    "model_load_time_s": False,
    "real_time_factor": False,
    "peak_ram_gb": False,
    "peak_memory_gb": False,
}

Trend = Literal["better", "worse", "unclear", "same"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One test in one cell; None where the run has no such test."""

    cell: str
    test: str
    old: str | None
    new: str | None

    @property
    def worse(self) -> bool:
        """A test that is gone is worse: what it showed is not shown any more."""
        return self.new is None or (self.old is not None and _WEIGHT[self.new] > _WEIGHT[self.old])


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of one model in one environment, over ``counts`` measurements in the old and the new run."""

    model: str
    environment: str
    name: str
    counts: tuple[int, int]
    ratio: Ratio

    @property
    def trend(self) -> Trend:
        """Better or worse where the interval leaves out "no change"; unclear where too few measurements give none."""
        if self.ratio.low is None:
            return "unclear"
        if not self.ratio.certain:
            return "same"
        return "better" if (self.ratio.ratio > 1) == _HIGHER_IS_BETTER[self.name] else "worse"


@dataclass(frozen=True, slots=True)
class Compared:
    """``unmeasured`` says why performance was not compared; empty where it was."""

    old: Run
    new: Run
    outcomes: tuple[Outcome, ...]
    metrics: tuple[Metric, ...]
    unmeasured: tuple[str, ...]

    @property
    def worse(self) -> bool:
        return any(each.worse for each in self.outcomes) or any(each.trend == "worse" for each in self.metrics)


def compare(old: Run, new: Run) -> Compared:
    """Raises UsageError where the two have no question in common: another matrix, or no cell that ran in both."""
    if old.plan.matrix != new.plan.matrix:
        sentence = f"{old.id} answers the matrix {old.plan.matrix}, and {new.id} {new.plan.matrix}"
        raise UsageError(f"not comparable: {sentence}; compare runs of one matrix")
    before, after = _last(old), _last(new)
    common = {cell for cell, _ in before} & {cell for cell, _ in after}
    if not common:
        raise UsageError(f"not comparable: no cell ran in both {old.id} and {new.id}")
    changed = [
        Outcome(cell, test, _of(before.get((cell, test))), _of(after.get((cell, test))))
        for cell, test in sorted(before.keys() | after.keys())
        if cell in common and _of(before.get((cell, test))) != _of(after.get((cell, test)))
    ]
    reasons = tuple(_incomparable(old, new))
    return Compared(old, new, tuple(changed), () if reasons else tuple(_metrics(before, after)), reasons)


def render(compared: Compared) -> Iterator[str]:
    """What a person reads, the worst first."""
    yield f"{compared.old.id} ({compared.old.verdict.word}) → {compared.new.id} ({compared.new.verdict.word})"
    yield f"  outcomes: {len(compared.outcomes)} changed"
    worst_first = sorted(compared.outcomes, key=lambda each: not each.worse)
    for outcome in worst_first[:_LISTED]:
        sign = "worse" if outcome.worse else "better" if outcome.old else "new"
        yield f"    {sign:8}{outcome.cell} {outcome.test}: {outcome.old or 'absent'} → {outcome.new or 'absent'}"
    if len(worst_first) > _LISTED:
        yield f"    and {len(worst_first) - _LISTED} more"
    for reason in compared.unmeasured:
        yield f"  performance not compared: {reason}"
    for metric in sorted(compared.metrics, key=lambda each: (each.trend != "worse", each.model, each.name)):
        ratio = metric.ratio
        bounds = f"{ratio.low:.3f} … {ratio.high:.3f}" if ratio.low is not None else "too few for an interval"
        said = f"× {ratio.ratio:.3f} ({bounds}; {metric.counts[0]} and {metric.counts[1]} measurements)"
        yield f"    {metric.trend:8}{metric.model} {metric.name} on {metric.environment}: {said}"


def _last(run: Run) -> dict[tuple[str, str], Mapping[str, Any]]:
    """The record of the last attempt of each test, by cell and test."""
    ordered = sorted(run.records, key=lambda record: record.get("attempt", 1))
    return {(record["cell"], record["test"]): record for record in ordered if "cell" in record}


def _of(record: Mapping[str, Any] | None) -> str | None:
    return None if record is None else str(record["outcome"])


def _incomparable(old: Run, new: Run) -> Iterator[str]:
    """Figures of two machines, or of two sets of libraries, say nothing of the release."""
    before = [[machine.get(fact) for fact in _MACHINE] for machine in old.machines]
    after = [[machine.get(fact) for fact in _MACHINE] for machine in new.machines]
    if len(before) != 1 or len(after) != 1:
        yield "a run of several machines measures none of them"
    elif before != after:
        names = [fact for fact, a, b in zip(_MACHINE, before[0], after[0], strict=True) if a != b]
        yield f"the machines differ in {', '.join(names)}"
    if old.plan.inputs.constraints_sha256 != new.plan.inputs.constraints_sha256:
        yield "the pinned versions differ"
    if old.plan.inputs.tests_sha256 != new.plan.inputs.tests_sha256:
        yield "the tests differ"


_Records = Mapping[tuple[str, str], Mapping[str, Any]]


def _metrics(before: _Records, after: _Records) -> Iterator[Metric]:
    """For each model and environment the same tests on both sides, so that no other mix of prompts looks like a change."""
    groups: dict[tuple[str, str], list[tuple[Mapping[str, Any], Mapping[str, Any]]]] = {}
    for key in before.keys() & after.keys():
        a, b = before[key], after[key]
        if "model" in a and a["model"] == b.get("model") and a["outcome"] == b["outcome"] == "passed":
            environment = f"Python {b.get('environment', {}).get('python', 'unknown')}"
            groups.setdefault((b["model"]["id"], environment), []).append((a, b))
    for (model, environment), pairs in sorted(groups.items()):
        for name in _HIGHER_IS_BETTER:
            both = [pair for pair in pairs if all(name in record.get("performance", {}) for record in pair)]
            old, new = ([*summary.measured(side, name)] for side in ([a for a, _ in both], [b for _, b in both]))
            found = spread.ratio(old, new)
            if found:
                yield Metric(model, environment, name, (len(old), len(new)), found)
