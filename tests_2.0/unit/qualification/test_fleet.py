"""A fleet of four made-up machines over sixty models: what runs where is a table that was worked out by hand.

Budgets: 16 GiB × 40 % = 6.4, 32 × 50 % = 16, 64 × 60 % = 38.4, 96 × 70 % = 67.2 GiB for text, whose need is 1.2 × its size;
70 % of the memory for vision (11.2, 22.4, 44.8, 67.2), whose need is its size; 70 % for audio too, whose need is 4 GiB at least.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qualification import gate, matrix, plan
from qualification.plan import Inputs
from qualification.portfolio import Capacity

GIB = 1 << 30
PROJECT = Path(__file__).parents[3]

# Sizes in GiB: 40 text models, 12 vision models, 8 speech models.
TEXT = (
    0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 3.5, 4,
    4.5, 5, 5.25, 5.33, 5.34, 6, 7, 8, 9, 10,
    11, 12, 13, 13.33, 13.34, 14, 16, 18, 20, 24,
    28, 30, 32, 32.01, 36, 40, 48, 56, 56.01, 70,
)  # fmt: skip
VISION = (1, 4, 5.6, 11.2, 11.21, 12.6, 22.4, 22.41, 40, 44.8, 46.4, 67.2)
AUDIO = (0.1, 0.4, 1.5, 3, 5, 11.2, 11.21, 30)

# Of each kind the models up to this size run, counted in the rows above: 6.4 / 1.2 = 5.333…, 16 / 1.2 = 13.333…,
# 38.4 / 1.2 = 32, 67.2 / 1.2 = 56.
RUNS = {
    "16gb": {"text": 14, "vision": 4, "audio": 6},
    "32gb": {"text": 24, "vision": 7, "audio": 7},
    "64gb": {"text": 33, "vision": 10, "audio": 8},
    "96gb": {"text": 38, "vision": 12, "audio": 8},
}


@pytest.fixture(scope="module")
def fleet() -> matrix.Matrix:
    return matrix.load(PROJECT / "matrices/fleet.yaml")


@pytest.fixture
def portfolio(build: Any) -> list[Any]:
    kinds = {"text": TEXT, "vision": VISION, "audio": AUDIO}
    return [
        build.model(f"org/{kind}-{number:02d}", modality=kind, family=f"family{number}", size_bytes=int(size * GIB))
        for kind, sizes in kinds.items()
        for number, size in enumerate(sizes)
    ]


def _planned(fleet: matrix.Matrix, portfolio: list[Any], tier: str) -> plan.Plan:
    return plan.expand(fleet, portfolio, tier, Inputs("0" * 64, "0" * 64, None, None, None))


def _facts(planned: plan.Plan, tier: str) -> gate.Facts:
    here = next(each for each in planned.tiers if each.name == tier)
    pythons = frozenset(cell.python for cell in planned.cells)
    return gate.Facts(Capacity(here, here.ram_bytes), pythons, available_bytes=here.ram_bytes)


@pytest.mark.parametrize("tier", RUNS)
def test_every_machine_runs_what_the_table_says_and_refuses_the_rest_with_its_reason(
    fleet: matrix.Matrix, portfolio: list[Any], tier: str
) -> None:
    assert len(portfolio) == 60
    planned = _planned(fleet, portfolio, tier)
    facts = _facts(planned, tier)
    decided = {cell: gate.decide(cell, facts) for cell in planned.cells if cell.model and cell.tier == tier}

    for kind, count in RUNS[tier].items():
        of_kind = [model.model_id for model in portfolio if model.modality == kind]
        ran = {cell.model.model_id for cell, decision in decided.items() if decision.runs and cell.model.modality == kind}
        assert ran == set(of_kind[:count])
    refused = [decision for decision in decided.values() if not decision.runs]
    assert {decision.code for decision in refused} <= {"ram"}
    assert all(decision.sentence and decision.pays for decision in refused)


@pytest.mark.parametrize("tier", RUNS)
def test_cells_of_another_tier_are_owed_there(fleet: matrix.Matrix, portfolio: list[Any], tier: str) -> None:
    planned = _planned(fleet, portfolio, tier)
    facts = _facts(planned, tier)
    elsewhere = [cell for cell in planned.cells if cell.tier not in (None, tier)]

    assert {cell.tier for cell in elsewhere} == set(RUNS) - {tier}
    assert {gate.decide(cell, facts).pays for cell in elsewhere} == {f"a {other} machine" for other in set(RUNS) - {tier}}


def test_four_machines_together_run_all_but_what_no_tier_can(fleet: matrix.Matrix, portfolio: list[Any]) -> None:
    plans = {tier: _planned(fleet, portfolio, tier) for tier in RUNS}

    ran = {
        cell.model.model_id
        for tier, planned in plans.items()
        for cell in planned.cells
        if cell.model and gate.decide(cell, _facts(planned, tier)).runs
    }

    assert {model.model_id for model in portfolio} - ran == {"org/text-38", "org/text-39"}
    assert len({planned.cells for planned in plans.values()}) == 1
