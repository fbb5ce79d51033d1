"""Names what became of a cell, from how its processes ended and what its tests recorded: a pure function."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

Outcome = Literal[
    "leaked", "failed", "crashed", "timeout", "oom_guard", "harness_error", "interrupted", "debt", "flaky", "quarantined",
    "passed", "not_applicable",
]  # fmt: skip
"""Closed, in order of weight: a cell with several is named by the first."""

ORDER: tuple[Outcome, ...] = get_args(Outcome)

_TESTS_FAILED, _INTERRUPTED, _INTERNAL_ERROR, _USAGE_ERROR, _NONE_COLLECTED = 1, 2, 3, 4, 5
"""pytest's exit codes: pytest.ExitCode."""

_PYTEST_ITSELF = {_INTERNAL_ERROR: "an internal error", _USAGE_ERROR: "a usage error"}


@dataclass(frozen=True, slots=True)
class Ended:
    """How one supervised process ended.

    ``returncode`` is negative for a signal. ``collected`` are the tests it set out to run, None where it never got so far;
    ``running`` is the test that was under way at the end. ``survivors`` are processes that outlived it.
    """

    returncode: int
    how: Literal["exited", "timeout", "orphaned"]
    collected: tuple[str, ...] | None
    running: str | None
    survivors: tuple[str, ...]
    duration_s: float
    peak_bytes: int
    finished: bool = True
    """Whether pytest said that its session was over, as it does not when a test ends the process."""


@dataclass(frozen=True, slots=True)
class Judged:
    """An outcome and the sentence that says why; a passed cell has nothing to explain."""

    outcome: Outcome
    reason: str = ""


def classify(ended: Ended, records: Sequence[Mapping[str, Any]]) -> Judged:
    """The weightiest thing that is true of the process and of the records that it wrote."""
    found = [judged for judged in (_survivors(ended), _failed(records), _end(ended, records), _proof(records)) if judged]
    return worst(found) if found else Judged("passed")


def worst(judged: Sequence[Judged]) -> Judged:
    """The one that weighs most; the earliest of equals."""
    return min(judged, key=lambda each: ORDER.index(each.outcome))


def _survivors(ended: Ended) -> Judged | None:
    """A process that was cut off leaves its children behind, which says nothing of them: only one that ended by itself leaks."""
    if ended.survivors and ended.how == "exited" and ended.returncode >= 0 and ended.running is None:
        return Judged("leaked", f"left running when its tests had ended, and stopped by force: {', '.join(ended.survivors)}")
    return None


def _failed(records: Sequence[Mapping[str, Any]]) -> Judged | None:
    failed = [record for record in records if record["outcome"] == "failed"]
    if not failed:
        return None
    first = failed[0]
    others = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
    return Judged("failed", f"{first['test']}: {first.get('reason', 'failed')}{others}")


def _end(ended: Ended, records: Sequence[Mapping[str, Any]]) -> Judged | None:
    during = f" in {ended.running}" if ended.running else ""
    if ended.how == "timeout":
        return Judged("timeout", f"stopped after {ended.duration_s:.0f} s{during}; the log holds the stacks of its threads")
    if ended.how == "orphaned":
        return Judged("interrupted", f"what watches over the cell died, and the cell with it{during}")
    if ended.returncode < 0:
        return Judged("crashed", f"killed by {_signal_name(-ended.returncode)}{during}")
    if ended.returncode in _PYTEST_ITSELF:
        return Judged("harness_error", f"pytest ended with {_PYTEST_ITSELF[ended.returncode]}{during}; see the log")
    if ended.collected is None:
        return Judged(
            "harness_error", f"pytest ended with code {ended.returncode} before it had collected its tests; see the log"
        )
    if not ended.collected or ended.returncode == _NONE_COLLECTED:
        return Judged("harness_error", "no test was collected, so the cell proves nothing")
    return _completeness(ended, ended.collected, records)


def _completeness(ended: Ended, collected: Sequence[str], records: Sequence[Mapping[str, Any]]) -> Judged | None:
    """Every collected test is recorded, each once and nothing else, and pytest says the same of them as the records do."""
    during = f" in {ended.running}" if ended.running else ""
    recorded = Counter(record["test"] for record in records if record.get("phase") != "collect")
    unfinished = set(collected) - set(recorded)
    if ended.running or ended.returncode == _INTERRUPTED or unfinished or not ended.finished:
        missing = f"{len(unfinished)} of {len(collected)} tests unrecorded"
        return Judged("crashed", f"ended with code {ended.returncode}{during} and {missing}")
    for stranger in recorded - Counter(collected):
        return Judged("harness_error", f"more records than tests: {stranger} was recorded, and not run, or not so often")
    if ended.returncode not in (0, _TESTS_FAILED):
        return Judged("harness_error", f"pytest ended with code {ended.returncode}; see the log")
    if ended.returncode == _TESTS_FAILED and not _failed(records):
        return Judged("harness_error", "pytest reports a failure that no record tells of; see the log")
    return None


def _proof(records: Sequence[Mapping[str, Any]]) -> Judged | None:
    skipped = [record for record in records if record["outcome"] == "skipped"]
    if skipped:
        first = f"{skipped[0]['test']}: {skipped[0].get('reason', 'no reason given')}"
        nothing = ", so nothing is shown" if len(skipped) == len(records) else ""
        return Judged("debt", f"{len(skipped)} of {len(records)} tests skipped themselves{nothing}: {first}")
    rerun = [record for record in records if record.get("reruns")]
    if rerun:
        return Judged("flaky", f"{len(rerun)} of {len(records)} tests passed only when run again: {rerun[0]['test']}")
    return None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
