"""Whether a cell may run here: the budgets and examples are those that releases were gated by on 16 to 96 GB machines."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from qualification import gate, portfolio
from qualification.declared import Quarantined
from qualification.gate import Decision, Facts

GIB = 1 << 30
FREE = 1 << 50


def _facts(build: Any, ram: int = 64, **changes: Any) -> Facts:
    tier = next(tier for tier in build.tiers if tier.ram_bytes == ram * GIB)
    return Facts(**{"tier": tier, "pythons": frozenset({"3.12"}), "available_bytes": FREE, **changes})


def _decide(build: Any, modality: str, size_gib: float, ram: int, **facts: Any) -> Decision:
    model = build.model("org/it", modality=modality, size_bytes=int(size_gib * GIB))
    return gate.decide(build.cell(model=model), _facts(build, ram, **facts))


@pytest.mark.parametrize(("ram", "budget_gib"), [(16, 6.4), (32, 16), (64, 38.4), (96, 67.2)])
def test_the_text_budget_grows_from_40_to_70_per_cent(build: Any, ram: int, budget_gib: float) -> None:
    tier = _facts(build, ram).tier

    assert portfolio.budget_bytes("text", tier) == pytest.approx(budget_gib * GIB)


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


def test_refusals_come_in_their_order_and_no_code_is_left_out(build: Any) -> None:
    """From a cell that nothing suits, one obstacle after another is taken away."""
    model, small = build.model(size_bytes=40 * GIB), build.model(size_bytes=2 * GIB)
    cell = {"tier": "16gb", "python": "3.10", "model": model}
    known = Quarantined("al", "it hangs", "#1", "2026-02-01", cell="text")
    facts: dict[str, Any] = {"selected": frozenset(), "available_bytes": GIB, "quarantine": (known,)}
    codes = []

    for cell_change, fact_change in [
        ({}, {}),
        ({}, {"selected": None}),
        ({"tier": None}, {}),
        ({}, {"quarantine": ()}),
        ({"python": "3.12"}, {}),
        ({"model": small}, {}),
        ({}, {"available_bytes": FREE}),
    ]:
        cell |= cell_change
        facts |= fact_change
        codes.append(gate.decide(build.cell(**cell), _facts(build, **facts)).code)

    assert codes == ["not_selected", "tier_elsewhere", "quarantined", "python_missing", "ram", "memory_busy", "runs"]
    assert set(codes) == set(get_args(gate.Code))
