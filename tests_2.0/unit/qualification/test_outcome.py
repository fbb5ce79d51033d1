"""What became of a cell, from how its process ended and what its tests recorded: a table worked by hand."""

from __future__ import annotations

from typing import Any

import pytest

from qualification import outcome
from qualification.outcome import Ended, Judged

A, B, C = "t.py::a", "t.py::b", "t.py::c"


def _ended(**changes: Any) -> Ended:
    """A process that ran tests a and b to their end."""
    given: dict[str, Any] = {
        "returncode": 0,
        "how": "exited",
        "collected": (A, B),
        "running": None,
        "survivors": (),
        "duration_s": 12.3,
        "peak_bytes": 1,
    }
    return Ended(**{**given, **changes})


def _passed(*tests: str, **more: Any) -> list[dict[str, Any]]:
    return [{"test": test, "outcome": "passed", **more} for test in tests]


def _failed(*tests: str) -> list[dict[str, Any]]:
    return [{"test": test, "outcome": "failed", "reason": "assert 1 == 2"} for test in tests]


def _skipped(*tests: str) -> list[dict[str, Any]]:
    return [{"test": test, "outcome": "skipped", "reason": "no hub"} for test in tests]


BOTH = _passed(A, B)
SERVER = ("mlxk (pid 7)",)


@pytest.mark.parametrize(
    ("ended", "records", "named", "reason"),
    [
        # it ended by itself and every test is accounted for
        ({}, BOTH, "passed", ""),
        ({"returncode": 1}, _passed(A) + _failed(B), "failed", "t.py::b: assert 1 == 2"),
        ({"returncode": 1}, _failed(A, B), "failed", "t.py::a: assert 1 == 2 (and 1 more)"),
        ({}, _passed(A) + _failed(B), "failed", "t.py::b: assert 1 == 2"),
        ({}, _passed(A) + _passed(B, reruns=2), "flaky", "1 of 2 tests passed only when run again: t.py::b"),
        ({}, _passed(A) + _skipped(B), "debt", "1 of 2 tests skipped themselves: t.py::b: no hub"),
        ({}, _skipped(A, B), "debt", "2 of 2 tests skipped themselves, so nothing is shown: t.py::a: no hub"),
        ({}, _skipped(A) + _passed(B, reruns=1), "debt", "1 of 2 tests skipped themselves: t.py::a: no hub"),
        # it ended by itself too soon: os._exit(0), pytest.exit(), an interpreter that a library ended
        ({"running": B}, _passed(A), "crashed", "ended with code 0 in t.py::b and 1 of 2 tests unrecorded"),
        ({}, _passed(A), "crashed", "ended with code 0 and 1 of 2 tests unrecorded"),
        ({}, [], "crashed", "ended with code 0 and 2 of 2 tests unrecorded"),
        ({}, _passed(A, C), "crashed", "ended with code 0 and 1 of 2 tests unrecorded"),
        ({}, _passed(A, A), "crashed", "ended with code 0 and 1 of 2 tests unrecorded"),
        ({"running": B}, BOTH, "crashed", "ended with code 0 in t.py::b and 0 of 2 tests unrecorded"),
        ({"returncode": 1, "running": B}, _passed(A), "crashed", "ended with code 1 in t.py::b and 1 of 2 tests unrecorded"),
        ({"returncode": 2}, _passed(A), "crashed", "ended with code 2 and 1 of 2 tests unrecorded"),
        ({"returncode": 2}, BOTH, "crashed", "ended with code 2 and 0 of 2 tests unrecorded"),
        ({"returncode": 77, "running": A}, [], "crashed", "ended with code 77 in t.py::a and 2 of 2 tests unrecorded"),
        # a signal ended it
        ({"returncode": -11, "running": B}, _passed(A), "crashed", "killed by SIGSEGV in t.py::b"),
        ({"returncode": -9, "collected": None}, [], "crashed", "killed by SIGKILL"),
        ({"returncode": -9}, BOTH, "crashed", "killed by SIGKILL"),
        ({"returncode": -200}, BOTH, "crashed", "killed by signal 200"),
        # nothing was tested, and that is nobody's success
        ({"returncode": 5, "collected": ()}, [], "harness_error", "no test was collected, so the cell proves nothing"),
        ({"collected": ()}, [], "harness_error", "no test was collected, so the cell proves nothing"),
        ({"returncode": 5}, [], "harness_error", "no test was collected, so the cell proves nothing"),
        (
            {"returncode": 1, "collected": None},
            [],
            "harness_error",
            "pytest ended with code 1 before it had collected its tests; see the log",
        ),
        ({"collected": None}, [], "harness_error", "pytest ended with code 0 before it had collected its tests; see the log"),
        # the harness failed, not what it examines
        (
            {"returncode": 3, "running": B},
            _passed(A),
            "harness_error",
            "pytest ended with an internal error in t.py::b; see the log",
        ),
        ({"returncode": 4, "collected": None}, [], "harness_error", "pytest ended with a usage error; see the log"),
        ({"returncode": 1}, BOTH, "harness_error", "pytest reports a failure that no record tells of; see the log"),
        ({"returncode": 9}, BOTH, "harness_error", "pytest ended with code 9; see the log"),
        # a module that could not be collected is a failure with a record of its own
        ({"returncode": 2}, _failed("t.py"), "failed", "t.py: assert 1 == 2"),
        # time
        (
            {"returncode": -15, "how": "timeout", "running": B},
            _passed(A),
            "timeout",
            "stopped after 12 s in t.py::b; the log holds the stacks of its threads",
        ),
        ({"how": "timeout"}, BOTH, "timeout", "stopped after 12 s; the log holds the stacks of its threads"),
        (
            {"returncode": -9, "how": "timeout", "collected": None},
            [],
            "timeout",
            "stopped after 12 s; the log holds the stacks of its threads",
        ),
        # who watched over it is gone
        (
            {"returncode": -9, "how": "orphaned", "running": B},
            _passed(A),
            "interrupted",
            "what watches over the cell died, and the cell with it in t.py::b",
        ),
        # left behind
        (
            {"survivors": SERVER},
            BOTH,
            "leaked",
            "left running when its tests had ended, and stopped by force: mlxk (pid 7)",
        ),
    ],
)
def test_a_cell_is_named_by_how_it_ended(
    ended: dict[str, Any], records: list[dict[str, Any]], named: outcome.Outcome, reason: str
) -> None:
    assert outcome.classify(_ended(**ended), records) == Judged(named, reason)


@pytest.mark.parametrize(
    ("ended", "records", "named"),
    [
        ({"returncode": 1, "survivors": SERVER}, _passed(A) + _failed(B), "leaked"),
        ({"survivors": SERVER}, _passed(A) + _skipped(B), "leaked"),
        ({"returncode": -11, "running": B}, _failed(A), "failed"),
        ({"returncode": -15, "how": "timeout", "running": B}, _failed(A), "failed"),
        ({"returncode": -9, "how": "orphaned"}, _failed(A), "failed"),
        ({"returncode": 3}, _failed(A) + _passed(B), "failed"),
        ({"returncode": 1}, _failed(A) + _passed(B, reruns=1), "failed"),
        ({"returncode": -11, "running": B}, _skipped(A), "crashed"),
        ({"returncode": -15, "how": "timeout", "running": B}, _skipped(A), "timeout"),
        ({"returncode": 3}, _skipped(A, B), "harness_error"),
    ],
)
def test_of_several_things_that_are_true_the_weightiest_names_the_cell(
    ended: dict[str, Any], records: list[dict[str, Any]], named: outcome.Outcome
) -> None:
    assert outcome.classify(_ended(**ended), records).outcome == named


@pytest.mark.parametrize(
    "cut_off",
    [
        {"returncode": -11, "running": B},
        {"returncode": 0, "running": B},
        {"returncode": -15, "how": "timeout", "running": B},
        {"returncode": -15, "how": "orphaned", "running": B},
    ],
    ids=["killed", "os._exit", "timeout", "orphaned"],
)
def test_what_a_test_that_was_cut_off_left_running_is_no_leak(cut_off: dict[str, Any]) -> None:
    judged = outcome.classify(_ended(survivors=SERVER, **cut_off), _passed(A))

    assert judged.outcome in ("crashed", "timeout", "interrupted")


def test_outcomes_are_a_closed_set_in_the_order_of_their_weight() -> None:
    weighed = "leaked failed crashed timeout oom_guard harness_error interrupted debt flaky quarantined passed"

    assert list(outcome.ORDER) == weighed.split()


def test_the_worst_of_several_is_the_earliest_of_the_weightiest() -> None:
    several = [Judged("passed"), Judged("failed", "one"), Judged("debt"), Judged("failed", "two")]

    assert outcome.worst(several) == Judged("failed", "one")
