"""``report diff``: outcomes that changed, performance with intervals, and a refusal where there is nothing to compare."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace
from statistics import median
from typing import Any

import pytest

from qualification.errors import UsageError
from qualification.report import diff, spread
from qualification.report.run import Run

CELL = "text[a]"
MACHINE = {"system": "Linux", "processor": "A", "cores": 2, "ram_bytes": 16}
MODEL = {"id": "org/a", "size_gb": 1.0}


@pytest.fixture
def told(build: Any, begin: Any, tmp_path: Any) -> Any:
    """``told(name, records)`` is a run of one cell with these records."""

    def tell(name: str, written: list[dict[str, Any]], **changes: Any) -> Run:
        planned = build.plan(build.cell(CELL))
        folder = tmp_path / name
        folder.mkdir()
        run = begin(planned, folder, name)
        given = {"machines": (MACHINE,), "records": tuple(written), **changes}
        return Run(name, "2026-01-01T00:00:00Z", planned, run.judge(), **given)

    return tell


@pytest.fixture
def measured(build: Any) -> Any:
    """``measured(rates)`` are records of passed tests, one for each rate."""
    return lambda rates: [
        build.record(f"test_a.py::test_{number}", cell=CELL, attempt=1, model=MODEL, performance={"generation_tps": rate})
        for number, rate in enumerate(rates)
    ]


@pytest.mark.parametrize(
    ("before", "after", "worse"),
    [
        ("passed", "failed", True),
        ("failed", "passed", False),
        ("passed", "skipped", True),
        ("passed", None, True),
        (None, "failed", False),
    ],
)
def test_each_outcome_that_changed_is_told_and_weighed(
    told: Any, build: Any, before: str | None, after: str | None, worse: bool
) -> None:
    common = build.record("test_a.py::test_common", cell=CELL, attempt=1)

    def records(outcome: str | None) -> list[dict[str, Any]]:
        return [common, *([build.record("test_a.py::test_it", cell=CELL, attempt=1, outcome=outcome)] if outcome else [])]

    compared = diff.compare(told("old", records(before)), told("new", records(after)))

    assert [(each.test, each.old, each.new) for each in compared.outcomes] == [("test_a.py::test_it", before, after)]
    assert compared.worse is worse


def test_of_a_test_that_ran_twice_the_last_attempt_counts(told: Any, build: Any) -> None:
    twice = [build.record(cell=CELL, attempt=2), build.record(cell=CELL, attempt=1, outcome="failed")]

    assert diff.compare(told("old", twice), told("new", [build.record(cell=CELL, attempt=1)])).outcomes == ()


def test_a_slowdown_that_is_certain_is_worse_and_one_that_may_be_noise_is_not(told: Any, measured: Any) -> None:
    noise = random.Random(1)
    old = [100 * math.exp(noise.gauss(0, 0.02)) for _ in range(12)]

    slower = diff.compare(told("old", measured(old)), told("slower", measured([rate * 0.8 for rate in old])))
    same = diff.compare(told("old2", measured(old)), told("same", measured([rate * 1.001 for rate in reversed(old)])))

    assert [each.trend for each in slower.metrics] == ["worse"]
    assert slower.worse
    low, high = slower.metrics[0].ratio.low, slower.metrics[0].ratio.high
    assert low is not None and high is not None and low < 0.8 < high < 1
    assert [each.trend for each in same.metrics] == ["same"]
    assert not same.worse


def test_too_few_measurements_give_no_interval_and_no_verdict(told: Any, measured: Any) -> None:
    compared = diff.compare(told("old", measured([100.0, 101.0])), told("new", measured([10.0, 11.0])))

    assert [each.trend for each in compared.metrics] == ["unclear"]
    assert any("too few for an interval" in line for line in diff.render(compared))


@pytest.mark.parametrize(
    ("machines", "why"),
    [
        ((dict(MACHINE, processor="B"),), "the machines differ in processor"),
        ((MACHINE, MACHINE), "a run of several machines measures none of them"),
    ],
)
def test_performance_of_other_machines_is_not_compared_and_says_why(told: Any, measured: Any, machines: Any, why: str) -> None:
    compared = diff.compare(told("old", measured([1.0] * 9)), told("new", measured([1.0] * 9), machines=machines))

    assert compared.metrics == ()
    assert any(why in line for line in diff.render(compared))


def test_performance_with_other_libraries_is_not_compared(told: Any, measured: Any) -> None:
    old, new = told("old", measured([1.0] * 9)), told("new", measured([1.0] * 9))
    new = replace(new, plan=replace(new.plan, inputs=replace(new.plan.inputs, constraints_sha256="9" * 64)))

    assert diff.compare(old, new).unmeasured == ("the pinned versions differ",)


def test_another_matrix_and_runs_without_a_common_cell_are_refused(told: Any, build: Any) -> None:
    old, new = told("old", [build.record(cell=CELL, attempt=1)]), told("new", [build.record(cell="text[b]", attempt=1)])

    with pytest.raises(UsageError, match="no cell ran in both old and new"):
        diff.compare(old, new)
    with pytest.raises(UsageError, match="old answers the matrix release, and new nightly"):
        diff.compare(old, replace(new, plan=replace(new.plan, matrix="nightly")))


def test_the_rank_sum_bound_is_that_of_published_tables() -> None:
    """Two-sided 5 % critical values of the Mann–Whitney U, as every table of it gives them; k is one more."""
    table = {(5, 5): 2, (6, 6): 5, (7, 7): 8, (8, 8): 13, (10, 10): 23, (5, 10): 8, (20, 20): 127, (4, 4): 0}

    assert {sizes: spread._smallest_rank(*sizes) - 1 for sizes in table} == table
    assert spread._smallest_rank(3, 3) == 0


def test_the_rank_sum_distribution_counts_every_order() -> None:
    brute = [0] * 13
    for chosen in itertools.combinations(range(7), 3):
        brute[sum(chosen) - 3] += 1

    assert spread._rank_sums(3, 4) == brute


def test_the_interval_holds_the_true_ratio_in_95_of_100_cases() -> None:
    noise = random.Random(7)
    held = 0
    for _ in range(400):
        old = [math.exp(noise.gauss(0, 0.1)) for _ in range(9)]
        new = [1.1 * math.exp(noise.gauss(0, 0.1)) for _ in range(9)]
        found = spread.ratio(old, new)
        assert found and found.low is not None and found.high is not None
        held += found.low <= 1.1 <= found.high

    assert 0.92 < held / 400 <= 0.99


@pytest.mark.parametrize(("count", "bounds"), [(5, None), (6, (1, 6)), (8, (1, 8)), (9, (2, 8)), (17, (5, 13)), (20, (6, 15))])
def test_the_bounds_of_a_median_are_the_order_statistics_of_the_sign_test(count: int, bounds: tuple[int, int] | None) -> None:
    """Ranks as in Conover, Practical Nonparametric Statistics, for 95 %."""
    found = spread.of([float(value) for value in range(count, 0, -1)])

    assert found is not None
    assert (found.count, found.median) == (count, median(range(1, count + 1)))
    assert (found.low, found.high) == (bounds or (None, None))


@pytest.mark.parametrize(("old", "new"), [([], [1.0]), ([1.0], []), ([0.0], [1.0]), ([1.0], [-1.0])])
def test_no_ratio_is_made_of_nothing_or_of_zero(old: list[float], new: list[float]) -> None:
    assert spread.ratio(old, new) is None
