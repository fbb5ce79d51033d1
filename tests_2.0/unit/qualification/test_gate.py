"""Whether a cell may run here: the budgets and examples are those that releases were gated by on 16 to 96 GB machines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest

from qualification import gate, host, portfolio
from qualification.declared import Metric, Quarantined
from qualification.gate import Decision, Facts
from qualification.host import Host
from qualification.portfolio import Capacity

GIB = 1 << 30
FREE = 1 << 50


def _facts(build: Any, ram: int = 64, **changes: Any) -> Facts:
    tier = next(tier for tier in build.tiers if tier.ram_bytes == ram * GIB)
    capacity = Capacity(tier, **{key: changes.pop(key) for key in ("ram_bytes", "working_set_bytes", "peaks") if key in changes})
    return Facts(**{"capacity": capacity, "pythons": frozenset({"3.12"}), "available_bytes": FREE, **changes})


def _decide(build: Any, modality: str, size_gib: float, ram: int, **facts: Any) -> Decision:
    model = build.model("org/it", modality=modality, size_bytes=int(size_gib * GIB))
    return gate.decide(build.cell(model=model), _facts(build, ram, **facts))


def test_what_is_compared_with_a_release_that_nobody_knows_is_owed(build: Any) -> None:
    cell = build.cell(metrics=(Metric("token_s", 0.03, 0.08),))

    decision = gate.decide(cell, _facts(build))

    assert (decision.code, decision.runs) == ("base_missing", False)
    assert decision.pays == "a run with BASE=<wheel|tag>, or with BASE=first where none came before"
    assert gate.decide(cell, _facts(build, base=True)).runs


@pytest.mark.parametrize(("ram", "budget_gib"), [(16, 6.4), (32, 16), (64, 38.4), (96, 67.2)])
def test_the_text_budget_grows_from_40_to_70_per_cent(build: Any, ram: int, budget_gib: float) -> None:
    capacity = _facts(build, ram).capacity

    assert portfolio.budget_bytes("text", capacity) == pytest.approx(budget_gib * GIB)


@pytest.mark.parametrize(
    ("modality", "size_gib", "ram", "code"),
    [
        ("text", 0.5, 64, "runs"),  # Qwen-0.5B, 0.6 with its overhead
        ("text", 4, 64, "runs"),  # Llama-3.2-3B, 4.8
        ("text", 32, 64, "runs"),  # Mixtral-8x7B, 38.4: exactly at the budget
        ("text", 32.01, 64, "ram"),
        ("text", 5.3, 16, "runs"),  # 6.36 of 6.4
        ("text", 5.4, 16, "ram"),  # 6.48 of 6.4
        ("text", 13.3, 32, "runs"),  # 15.96 of 16
        ("text", 13.4, 32, "ram"),  # 16.08 of 16
        ("text", 56, 96, "runs"),  # 67.2 of 67.2
        ("text", 56.1, 96, "ram"),
        ("vision", 5.6, 64, "runs"),  # Llama-3.2-11B-Vision, 8.75 per cent
        ("vision", 12.6, 64, "runs"),  # pixtral-12b, 19.6 per cent
        ("vision", 44.8, 64, "runs"),  # exactly 70 per cent
        ("vision", 46.4, 64, "ram"),  # Llama-3.2-90B-Vision, 72.5 per cent
        ("audio", 1.5, 16, "runs"),  # whisper-large-v3-turbo
        ("audio", 12, 16, "ram"),  # above 70 per cent of 16, which is 11.2
    ],
)
def test_a_model_runs_where_its_need_fits_the_budget(build: Any, modality: str, size_gib: float, ram: int, code: str) -> None:
    assert _decide(build, modality, size_gib, ram).code == code


@pytest.mark.parametrize(
    ("modality", "size_gib", "free_gib", "code"),
    [
        ("text", 10, 12, "runs"),
        ("text", 10, 11.9, "memory_busy"),
        ("vision", 10, 10, "runs"),
        ("vision", 10, 9.9, "memory_busy"),
        ("audio", 1.5, 4, "runs"),
        ("audio", 1.5, 3.9, "memory_busy"),  # the floor, not the file, is what it needs
        ("audio", 6, 5.9, "memory_busy"),
    ],
)
def test_a_model_waits_for_the_memory_that_it_needs(
    build: Any, modality: str, size_gib: float, free_gib: float, code: str
) -> None:
    assert _decide(build, modality, size_gib, 64, available_bytes=int(free_gib * GIB)).code == code


@pytest.mark.parametrize(
    ("changes", "facts", "decision"),
    [
        ({}, {}, Decision("runs")),
        ({}, {"selected": frozenset({"it"})}, Decision("runs")),
        ({}, {"available_bytes": 0}, Decision("runs")),
        (
            {},
            {"selected": frozenset({"other"})},
            Decision("not_selected", "it was not selected by --only", "a run without --only"),
        ),
        (
            {"tier": "16gb"},
            {},
            Decision("tier_elsewhere", "it is owed on a 16gb machine; this one is 64gb", "a 16gb machine"),
        ),
        ({"tier": "64gb"}, {}, Decision("runs")),
        (
            {"python": "3.10"},
            {},
            Decision(
                "python_missing",
                "Python 3.10 is not on this machine; `pyenv install 3.10` or `uv python install 3.10` adds it",
                "a machine with Python 3.10",
            ),
        ),
    ],
)
def test_a_refusal_says_why_and_what_pays(build: Any, changes: dict[str, Any], facts: dict[str, Any], decision: Decision) -> None:
    assert gate.decide(build.cell("it", **changes), _facts(build, **facts)) == decision


@pytest.mark.parametrize(
    ("modality", "size_gib", "free", "sentence", "pays"),
    [
        ("text", 40, FREE, "org/it needs 48 GiB and this tier's budget is 38.4 GiB", "a machine whose budget is 48 GiB"),
        ("vision", 46.4, FREE, "org/it (46.4 GiB) exceeds 70% of 64 GiB", "a machine with more memory"),
        ("text", 10, 5 * GIB, "org/it needs 12 GiB and 5 GiB are free now", "this machine with 12 GiB free"),
    ],
    ids=["budget", "vision limit", "busy"],
)
def test_a_refusal_for_memory_names_both_numbers(
    build: Any, modality: str, size_gib: float, free: int, sentence: str, pays: str
) -> None:
    decision = _decide(build, modality, size_gib, 64, available_bytes=free)

    assert (decision.sentence, decision.pays) == (sentence, pays)


HEALTHY = Host(disk_free_bytes=FREE, swap_used_bytes=0, ram_bytes=64 * GIB, load_1=1.0, cores=4, mlx=("mlx-0.32.0",))


def test_refusals_come_in_their_order_and_no_code_is_left_out(build: Any) -> None:
    """From a cell that nothing suits, one obstacle after another is taken away."""
    model, small = build.model(size_bytes=40 * GIB), build.model(size_bytes=2 * GIB)
    cell: dict[str, Any] = {
        "tier": "16gb",
        "python": "3.10",
        "model": model,
        "exclusive": True,
        "needs": ("hub", "network", "credentials"),
    }
    cell |= {"metrics": (Metric("token_s", 0.03, 0.08),)}
    facts: dict[str, Any] = {
        "selected": frozenset(),
        "available_bytes": GIB,
        "quarantine": (Quarantined("al", "it hangs", "#1", "2026-02-01", cell="text"),),
        "missing": {"hub": "no port", "network": "no route", "credentials": "no token"},
        "no_environment": "uv is missing",
        "host": replace(HEALTHY, disk_free_bytes=0, busy_share=0.9),
    }
    codes = []

    for cell_change, fact_change in [
        ({}, {}),
        ({}, {"selected": None}),
        ({"tier": None}, {}),
        ({}, {"quarantine": ()}),
        ({}, {"missing": {"network": "no route", "credentials": "no token"}}),
        ({}, {"missing": {"credentials": "no token"}}),
        ({}, {"missing": {}}),
        ({"python": "3.12"}, {}),
        ({}, {"no_environment": ""}),
        ({}, {"base": True}),
        ({}, {"host": replace(HEALTHY, busy_share=0.9)}),
        ({"model": small}, {}),
        ({}, {"available_bytes": FREE}),
        ({}, {"host": HEALTHY}),
    ]:
        cell |= cell_change
        facts |= fact_change
        codes.append(gate.decide(build.cell(**cell), _facts(build, **facts)).code)

    assert [*codes[-1:], *codes[:-1]] == list(get_args(gate.Code))


@pytest.mark.parametrize(
    ("changes", "runs_model", "word"),
    [
        ({}, True, ""),
        ({"disk_free_bytes": 2 * GIB}, True, ""),
        ({"disk_free_bytes": 2 * GIB - 1}, False, "2.0 GiB are free where cells work"),
        ({"swap_used_bytes": 16 * GIB}, False, ""),
        ({"swap_used_bytes": 17 * GIB}, False, "17 GiB are swapped out"),
        ({"load_1": 64.0}, False, ""),
        ({"load_1": 65.0}, False, "the load is 65 on 4 cores"),
        ({"mlx": ()}, True, "0 distributions of mlx (none)"),
        ({"mlx": ()}, False, ""),
        ({"mlx": None}, True, ""),
        ({"mlx": ("mlx-0.31.2", "mlx-0.32.0")}, True, "2 distributions of mlx (mlx-0.31.2, mlx-0.32.0)"),
        ({"busy_share": 1.0}, True, ""),
    ],
)
def test_a_machine_in_bad_health_examines_nothing(changes: dict[str, Any], runs_model: bool, word: str) -> None:
    problem = host.problem(replace(HEALTHY, **changes), runs_model)

    assert (bool(problem), word in problem) == (bool(word), True), problem


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, ""),
        ({"swap_used_bytes": 100 * 10**6}, ""),
        ({"swap_used_bytes": 101 * 10**6}, "a measurement allows 100 MB"),
        ({"busy_share": 0.2}, ""),
        ({"busy_share": 0.21}, "21% of the machine is in use"),
    ],
)
def test_a_machine_that_is_busy_measures_nothing(changes: dict[str, Any], word: str) -> None:
    noise = host.noise(replace(HEALTHY, **changes))

    assert (bool(noise), word in noise) == (bool(word), True), noise


@pytest.mark.parametrize(
    ("ram_gib", "tier", "budget_gib"),
    [
        (16, 16, 6.4),
        (15.5, 16, 6.4),  # sold as 16
        (14.4, 16, 6.4),  # a tenth less, exactly
        (14, 16, 5.6),  # 40 per cent of what it has
        (8, 16, 3.2),
        (24, 16, 9.6),
        (36, 32, 18),
        (128, 96, 89.6),
        (None, 64, 38.4),
    ],
)
def test_the_budget_is_a_share_of_what_the_machine_has(build: Any, ram_gib: float | None, tier: int, budget_gib: float) -> None:
    capacity = _facts(build, tier, ram_bytes=None if ram_gib is None else round(ram_gib * GIB)).capacity

    assert portfolio.budget_bytes("text", capacity) == pytest.approx(budget_gib * GIB)


def test_a_machine_below_the_smallest_tier_refuses_what_that_tier_would_run(build: Any) -> None:
    four = build.cell(model=build.model("org/it", size_bytes=4 * GIB))

    small, whole = (gate.decide(four, _facts(build, 16, ram_bytes=ram * GIB)) for ram in (8, 16))

    assert whole.runs
    assert (small.code, small.sentence) == ("ram", "org/it needs 4.8 GiB and this machine's budget is 3.2 GiB")


def test_metal_s_recommendation_bounds_every_budget(build: Any) -> None:
    capacity = {"ram_bytes": 64 * GIB, "working_set_bytes": 30 * GIB}
    cell = build.cell(model=build.model("org/it", size_bytes=26 * GIB))

    decision = gate.decide(cell, _facts(build, 64, **capacity))

    assert decision.sentence == "org/it needs 31.2 GiB and what Metal recommends to use is 30 GiB"
    assert portfolio.budget_bytes("vision", _facts(build, 64, **capacity).capacity) == 30 * GIB


@pytest.mark.parametrize(
    ("modality", "learned_gib", "need_gib"),
    [("text", 0, 12), ("text", 10, 12), ("text", 20, 22), ("vision", 20, 22), ("audio", 1, 10), ("audio", 20, 22)],
)
def test_a_model_that_was_measured_needs_a_tenth_more_than_it_took(
    build: Any, modality: str, learned_gib: float, need_gib: float
) -> None:
    model = build.model("org/it", modality=modality, size_bytes=10 * GIB, revision="r")
    peaks = {("org/it", "r"): learned_gib * GIB, ("org/it", "another"): 60 * GIB}

    assert portfolio.need_bytes(model, _facts(build, 64, peaks=peaks).capacity) == pytest.approx(need_gib * GIB)
