"""Names what became of a cell, from how its processes ended and what its tests recorded: a pure function."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from qualification.declared import Quarantined

Outcome = Literal[
    "leaked", "failed", "crashed", "timeout", "oom_guard", "harness_error", "interrupted", "debt", "flaky", "quarantined",
    "passed",
]  # fmt: skip
"""Closed, in order of weight: a cell with several is named by the first."""

ORDER: tuple[Outcome, ...] = get_args(Outcome)

_TESTS_FAILED, _INTERRUPTED, _INTERNAL_ERROR, _USAGE_ERROR, _NONE_COLLECTED = 1, 2, 3, 4, 5
"""pytest's exit codes: pytest.ExitCode."""

_NAMED = 5
_PYTEST_ITSELF = {_INTERNAL_ERROR: "an internal error", _USAGE_ERROR: "a usage error"}


@dataclass(frozen=True, slots=True)
class Ended:
    """How one supervised process ended.

    ``returncode`` is negative for a signal. ``collected`` are the tests it set out to run, None where it never got so far;
    ``running`` is the test that was under way at the end. ``survivors`` are processes that outlived it.
    """

    returncode: int
    how: Literal["exited", "timeout", "oom_guard", "orphaned"]
    collected: tuple[str, ...] | None
    running: str | None
    survivors: tuple[str, ...]
    duration_s: float
    peak_bytes: int
    finished: bool = True
    """Whether pytest said that its session was over, as it does not when a test ends the process."""
    distress: str = ""
    """Why the ``oom_guard`` stopped it."""
    left: tuple[str, ...] = ()
    """Names of what it left in its temporary directory."""
    cache_changes: tuple[str, ...] = ()
    """What is no longer as it was in the user's cache."""


@dataclass(frozen=True, slots=True)
class Judged:
    """An outcome and the sentence that says why; a passed cell has nothing to explain."""

    outcome: Outcome
    reason: str = ""


NOTHING_COLLECTED = Judged("harness_error", "no test was collected, so the cell proves nothing")


def classify(ended: Ended, records: Sequence[Mapping[str, Any]], quarantine: Sequence[Quarantined] = ()) -> Judged:
    """The weightiest thing that is true of the process and of the records that it wrote.

    ``quarantine`` are the entries in force that cover the cell: what they excuse is told, and is no failure.
    """
    failed = [record for record in records if record["outcome"] == "failed"]
    excused = {record["test"]: entry for record in failed for entry in quarantine if entry.excuses(record["test"])}
    told = (
        _leaked(ended),
        _failed([record for record in failed if record["test"] not in excused]),
        _end(ended, records),
        _proof(records),
        _excused(excused),
    )
    return worst([judged for judged in told if judged] or [Judged("passed")])


def worst(judged: Sequence[Judged]) -> Judged:
    """The one that weighs most; the earliest of equals."""
    return min(judged, key=lambda each: ORDER.index(each.outcome))


def _leaked(ended: Ended) -> Judged | None:
    """A process that was cut off leaves children and files behind, which says nothing of them: only one that ended by itself
    leaks. What changed in the user's cache is told whatever the end was.
    """
    told = []
    if ended.how == "exited" and ended.returncode >= 0 and ended.running is None:
        if ended.survivors:
            told.append(f"left running when its tests had ended, and stopped by force: {', '.join(ended.survivors)}")
        if ended.left:
            told.append(f"left in its temporary directory: {_some(ended.left)}")
    if ended.cache_changes:
        told.append(f"changed in the user's cache: {_some(ended.cache_changes)}")
    return Judged("leaked", "; ".join(told)) if told else None


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _excused(excused: Mapping[str, Quarantined]) -> Judged | None:
    if not excused:
        return None
    return Judged("quarantined", f"failed as expected: {'; '.join(sorted({str(entry) for entry in excused.values()}))}")


def _failed(failed: Sequence[Mapping[str, Any]]) -> Judged | None:
    if not failed:
        return None
    first = failed[0]
    others = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
    return Judged("failed", f"{first['test']}: {first.get('reason', 'failed')}{others}")


def _end(ended: Ended, records: Sequence[Mapping[str, Any]]) -> Judged | None:
    during = f" in {ended.running}" if ended.running else ""
    if ended.how == "timeout":
        return Judged("timeout", f"stopped after {ended.duration_s:.0f} s{during}; the log holds the stacks of its threads")
    if ended.how == "oom_guard":
        return Judged("oom_guard", f"stopped{during}, before the machine ran out of memory: {ended.distress}")
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
        if any(record["outcome"] == "skipped" for record in records):  # whole modules, which then say why
            return None
        return NOTHING_COLLECTED
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
    if ended.returncode == _TESTS_FAILED and all(record["outcome"] != "failed" for record in records):
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
