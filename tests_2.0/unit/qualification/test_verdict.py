"""Whether a release qualifies: the word and every reason, from a plan and a run that was written down in real files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import pytest

from qualification import verdict
from qualification.declared import Metric, Quarantined
from qualification.errors import BundleError
from qualification.plan import LeftOut

CELL = "text[py312-locked]"


def _codes(judged: verdict.Verdict) -> list[tuple[str, str]]:
    return [(reason.weighs, reason.code) for reason in judged.reasons]


def _outcomes(judged: verdict.Verdict) -> dict[str, str]:
    return {cell.cell: cell.outcome for cell in judged.cells}


@pytest.mark.parametrize(
    ("word", "code"),
    [("INVALID", 3), ("NOT_QUALIFIED", 1), ("INCOMPLETE", 5), ("QUALIFIED_WITH_EXCEPTIONS", 4), ("QUALIFIED", 0)],
)
def test_each_word_has_its_exit_code(word: Any, code: int) -> None:
    assert verdict.Verdict(word, (), ()).exit_code == code


def test_the_words_weigh_in_their_order() -> None:
    assert get_args(verdict.Word) == ("INVALID", "NOT_QUALIFIED", "INCOMPLETE", "QUALIFIED_WITH_EXCEPTIONS", "QUALIFIED")


@pytest.mark.parametrize(
    ("outcome", "gate", "required", "word"),
    [
        ("passed", "blocker", True, "QUALIFIED"),
        ("flaky", "blocker", True, "QUALIFIED_WITH_EXCEPTIONS"),
        ("flaky", "blocker", False, "QUALIFIED_WITH_EXCEPTIONS"),
        ("debt", "blocker", True, "INCOMPLETE"),
        ("debt", "minor", True, "INCOMPLETE"),
        ("debt", "blocker", False, "QUALIFIED"),
        ("interrupted", "blocker", True, "INCOMPLETE"),
        ("interrupted", "blocker", False, "QUALIFIED"),
        ("failed", "blocker", True, "NOT_QUALIFIED"),
        ("failed", "major", True, "NOT_QUALIFIED"),
        ("failed", "minor", True, "QUALIFIED_WITH_EXCEPTIONS"),
        ("failed", "blocker", False, "NOT_QUALIFIED"),
        ("leaked", "blocker", True, "NOT_QUALIFIED"),
        ("crashed", "blocker", True, "NOT_QUALIFIED"),
        ("timeout", "blocker", True, "NOT_QUALIFIED"),
        ("harness_error", "blocker", True, "NOT_QUALIFIED"),
        ("harness_error", "minor", True, "QUALIFIED_WITH_EXCEPTIONS"),
    ],
)
def test_one_cell_weighs_by_its_outcome_its_gate_and_whether_it_is_required(
    build: Any, begin: Any, outcome: str, gate: str, required: bool, word: str
) -> None:
    run = begin(build.plan(build.cell(CELL, gate=gate), groups=("text",) if required else ()))

    run.ran(CELL, outcome)

    judged = run.judge()
    assert (judged.word, _outcomes(judged)) == (word, {CELL: outcome})


def test_a_reason_names_the_cell_why_and_where_it_is_written(build: Any, begin: Any) -> None:
    run = begin(build.plan(build.cell(CELL)))

    run.ran(CELL, "failed")

    (reason,) = run.judge().reasons
    assert reason == verdict.Reason("NOT_QUALIFIED", "failed", f"{CELL}: it failed", ("journal:2", "journal:3"))


@pytest.mark.parametrize(
    ("write", "outcome", "reason", "pays"),
    [
        (lambda run: None, "interrupted", "the run stopped before it began", "`make resume`"),
        (
            lambda run: run.started(CELL),
            "interrupted",
            "the run stopped while it ran, after 0 of its tests",
            "`make resume`",
        ),
        (
            lambda run: (run.started(CELL), run.record(CELL)),
            "interrupted",
            "the run stopped while it ran, after 1 of its tests",
            "`make resume`",
        ),
        (lambda run: run.gated(CELL), "debt", "it is too large", "a larger machine"),
    ],
    ids=["nothing", "started", "some tests", "gated"],
)
def test_a_cell_that_did_not_finish_is_owed_and_says_what_pays(
    build: Any, begin: Any, write: Callable[[Any], Any], outcome: str, reason: str, pays: str
) -> None:
    run = begin(build.plan(build.cell(CELL)))

    write(run)

    judged = run.judge()
    (cell,) = judged.cells
    assert (judged.word, cell.outcome, cell.reason, cell.pays) == ("INCOMPLETE", outcome, reason, pays)
    assert judged.reasons[0].sentence == f"{CELL}: {reason}; paid by {pays}"


@pytest.mark.parametrize(
    ("attempts", "outcome", "word"),
    [
        (["passed"], "passed", "QUALIFIED"),
        (["gated", "passed"], "passed", "QUALIFIED"),
        (["passed", "gated"], "passed", "QUALIFIED"),
        (["failed", "gated"], "failed", "NOT_QUALIFIED"),
        (["interrupted", "passed"], "passed", "QUALIFIED"),
        (["debt", "passed"], "passed", "QUALIFIED"),
        (["harness_error", "passed"], "passed", "QUALIFIED"),
        (["failed", "passed"], "flaky", "QUALIFIED_WITH_EXCEPTIONS"),
        (["crashed", "debt", "passed"], "flaky", "QUALIFIED_WITH_EXCEPTIONS"),
        (["passed", "failed"], "failed", "NOT_QUALIFIED"),
        (["passed", "interrupted"], "interrupted", "INCOMPLETE"),
        (["failed", "interrupted"], "failed", "NOT_QUALIFIED"),
        (["leaked", "debt"], "leaked", "NOT_QUALIFIED"),
        (["crashed", "passed", "interrupted"], "crashed", "NOT_QUALIFIED"),
        (["harness_error", "interrupted"], "harness_error", "NOT_QUALIFIED"),
        (["failed", "quarantined"], "flaky", "QUALIFIED_WITH_EXCEPTIONS"),
    ],
    ids="-".join,
)
def test_the_last_attempt_counts_and_a_failure_before_it_is_not_forgotten(
    build: Any, begin: Any, attempts: list[str], outcome: str, word: str
) -> None:
    known = Quarantined("us", "known", "#7", "9999-12-31", test="tests_2.0/live/test_a.py::test_0")
    run = begin(build.plan(build.cell(CELL), quarantine=(known,) if "quarantined" in attempts else ()))
    number = 0

    for attempt in attempts:
        number += attempt != "gated"
        if attempt == "gated":
            run.gated(CELL)
        elif attempt == "interrupted":
            run.started(CELL, number)
        else:
            run.ran(CELL, attempt, number)

    judged = run.judge()
    assert (judged.cells[0].outcome, judged.cells[0].attempts, judged.word) == (outcome, number, word)


def test_a_pass_after_a_failure_tells_of_both(build: Any, begin: Any) -> None:
    run = begin(build.plan(build.cell(CELL)))

    run.ran(CELL, "failed", 1)
    run.ran(CELL, "passed", 2)

    assert run.judge().cells[0].reason == "attempt 1 was failed (it failed), and attempt 2 passed with the same inputs"


def test_an_attempt_that_came_to_nothing_tells_of_the_failure_before_it(build: Any, begin: Any) -> None:
    run = begin(build.plan(build.cell(CELL), groups=()))

    run.ran(CELL, "failed", 1)
    run.started(CELL, 2)

    (reason,) = run.judge().reasons
    assert (reason.weighs, reason.code) == ("NOT_QUALIFIED", "failed")
    assert reason.sentence.endswith(
        "attempt 1 was failed (it failed), and attempt 2 was interrupted (the run stopped while it ran, after 0 of its tests)"
    )


def test_counts_are_in_order_of_weight_and_sum_to_the_cells_of_the_plan(build: Any, begin: Any) -> None:
    outcomes = ["passed", "failed", "passed", "leaked", "debt", "passed", None, "flaky"]
    cells = [build.cell(f"text[{number}]") for number in range(len(outcomes))]
    run = begin(build.plan(*cells))

    for cell, outcome in zip(cells, outcomes, strict=True):
        if outcome:
            run.ran(cell.id, outcome)

    judged = run.judge()
    assert list(judged.counts.items()) == [
        ("leaked", 1), ("failed", 1), ("interrupted", 1), ("debt", 1), ("flaky", 1), ("passed", 3),
    ]  # fmt: skip
    assert sum(judged.counts.values()) == len(run.plan.cells)


def test_reasons_stand_in_order_of_weight_and_the_first_is_the_verdict(build: Any, begin: Any) -> None:
    cells = [build.cell(f"text[{number}]") for number in range(3)]
    run = begin(build.plan(*cells, pythons=("3.13",)))

    for cell, outcome in zip(cells, ("flaky", "debt", "failed"), strict=True):
        run.ran(cell.id, outcome)

    judged = run.judge()
    assert judged.word == "NOT_QUALIFIED"
    assert _codes(judged) == [
        ("NOT_QUALIFIED", "failed"),
        ("INCOMPLETE", "debt"),
        ("INCOMPLETE", "python_unproven"),
        ("QUALIFIED_WITH_EXCEPTIONS", "flaky"),
    ]


@pytest.mark.parametrize("outcome", ["passed", "flaky", "debt", "failed"])
def test_a_python_is_proven_by_a_cell_that_passed_on_it(build: Any, begin: Any, outcome: str) -> None:
    run = begin(build.plan(build.cell(CELL, python="3.10"), pythons=("3.10",)))

    run.ran(CELL, outcome)

    unproven = ("INCOMPLETE", "python_unproven") in _codes(run.judge())
    assert unproven == (outcome not in ("passed", "flaky"))


@pytest.mark.parametrize(
    ("tier_of_cell", "required", "proven"),
    [
        ("64gb", "64gb", True),
        ("16gb", "64gb", False),
        ("64gb", "16gb", False),
        (None, "64gb", True),  # no cell is over tiers, and this machine is of the tier that is asked for
        (None, "16gb", False),
    ],
)
def test_a_tier_is_proven_by_a_cell_that_passed_on_it(
    build: Any, begin: Any, tier_of_cell: str | None, required: str, proven: bool
) -> None:
    run = begin(build.plan(build.cell(CELL, tier=tier_of_cell), tiers=(required,)))

    run.ran(CELL)

    assert _codes(run.judge()) == ([] if proven else [("INCOMPLETE", "tier_unproven")])


@pytest.mark.parametrize(
    ("families", "word"),
    [
        (["llama", "qwen", "phi"], "QUALIFIED"),
        (["llama", "qwen", "qwen", "qwen"], "INCOMPLETE"),
        (["llama", "qwen", "phi:debt"], "INCOMPLETE"),
        (["llama", "qwen", "phi:flaky"], "QUALIFIED_WITH_EXCEPTIONS"),
        (["llama", "qwen", "phi::vision"], "INCOMPLETE"),
    ],
)
def test_families_count_once_each_and_only_where_a_cell_of_their_modality_passed(
    build: Any, begin: Any, families: list[str], word: str
) -> None:
    cells, outcomes = [], []
    for number, told in enumerate(families):
        family, outcome, modality = [*told.split(":"), "", ""][:3]
        model = build.model(f"org/{number}", family=family, modality=modality or "text")
        cells.append(build.cell(f"text[{number}]", model=model))
        outcomes.append(outcome or "passed")
    run = begin(build.plan(*cells, groups=(), families=(("text", 3),)))

    for cell, outcome in zip(cells, outcomes, strict=True):
        run.ran(cell.id, outcome)

    assert run.judge().word == word


def test_what_speed_is_measured_on_shows_no_family(build: Any, begin: Any) -> None:
    cell = build.cell("perf[a]", model=build.model(), metrics=(Metric("token_s", 0.03, 0.08),))
    run = begin(build.plan(cell, families=(("text", 1),)))

    run.ran(cell.id)

    assert _codes(run.judge()) == [("INCOMPLETE", "too_few_families")]


def test_a_first_release_qualifies_and_says_what_it_was_not_compared_with(build: Any, begin: Any) -> None:
    planned = replace(build.plan(build.cell(CELL)), left_out=(LeftOut("perf", "no release came before this one"),))
    run = begin(planned)

    run.ran(CELL)

    judged = run.judge()
    assert (judged.word, judged.exit_code) == ("QUALIFIED", 0)
    (reason,) = judged.reasons
    assert (reason.weighs, reason.code) == ("QUALIFIED", "left_out")
    assert reason.sentence == "perf has no cell: no release came before this one"


def test_too_few_families_are_named(build: Any, begin: Any) -> None:
    run = begin(build.plan(build.cell(CELL, model=build.model()), families=(("text", 2), ("vision", 1))))

    run.ran(CELL)

    assert [reason.sentence for reason in run.judge().reasons] == [
        "2 text families must pass and 1 did (llama)",
        "1 vision families must pass and 0 did (none)",
    ]


def test_a_required_group_without_a_cell_is_owed_and_not_forgotten(build: Any, begin: Any) -> None:
    run = begin(build.plan(build.cell(CELL), groups=("text", "vision")))

    run.ran(CELL)

    (reason,) = run.judge().reasons
    assert (reason.weighs, reason.code) == ("INCOMPLETE", "empty_group")
    assert "the group vision has no cell in this plan" in reason.sentence


def test_a_plan_without_a_cell_shows_nothing(build: Any, begin: Any) -> None:
    run = begin(build.plan())

    assert _codes(run.judge()) == [("INCOMPLETE", "empty_plan")]


def _append_stranger(run: Any) -> None:
    run.record("text[other]")


def _append_record_of_no_attempt(run: Any) -> None:
    run.record(CELL, attempt=2)


def _append_record_to_a_finished_attempt(run: Any) -> None:
    run.record(CELL, attempt=1, number=9)


def _change_a_record(run: Any) -> None:
    run.tests.write_bytes(run.tests.read_bytes().replace(b'"duration": 1.5', b'"duration": 0.5'))


def _drop_the_records(run: Any) -> None:
    run.tests.unlink()


def _run_an_unplanned_cell(run: Any) -> None:
    run.ran("text[other]")


def _finish_twice(run: Any) -> None:
    run.finished(CELL)


def _finish_unstarted(run: Any) -> None:
    run.finished(CELL, attempt=2)


def _skip_an_attempt(run: Any) -> None:
    run.ran(CELL, attempt=3)


@pytest.mark.parametrize(
    ("tamper", "code", "evidence"),
    [
        (_append_stranger, "unplanned_record", "tests:2"),
        (_append_record_of_no_attempt, "unplanned_record", "tests:2"),
        (_append_record_to_a_finished_attempt, "records_changed", "journal:3"),
        (_change_a_record, "records_changed", "journal:3"),
        (_drop_the_records, "records_changed", "journal:3"),
        (_run_an_unplanned_cell, "unplanned_cell", "journal:4"),
        (_finish_twice, "attempts_disordered", "journal:4"),
        (_finish_unstarted, "attempts_disordered", "journal:4"),
        (_skip_an_attempt, "attempts_disordered", "journal:4"),
    ],
    ids=lambda case: getattr(case, "__name__", None),
)
def test_what_does_not_add_up_invalidates_and_is_cited(
    build: Any, begin: Any, tamper: Callable[[Any], None], code: str, evidence: str
) -> None:
    run = begin(build.plan(build.cell(CELL)))
    run.ran(CELL)

    tamper(run)

    judged = run.judge()
    assert judged.word == "INVALID"
    assert any(reason.code == code and evidence in reason.evidence for reason in judged.reasons)


@pytest.mark.parametrize("said", ["failed", "debt", "none"])
def test_a_pass_that_its_records_do_not_show_invalidates(build: Any, begin: Any, said: str) -> None:
    run = begin(build.plan(build.cell(CELL)))
    run.started(CELL)
    raw = [] if said == "none" else [run.record(CELL, outcome=said)]

    run.ended(CELL, "passed", 1, raw)

    assert _codes(run.judge())[0] == ("INVALID", "pass_unproven")


def test_another_plan_than_the_one_the_run_began_with_invalidates(build: Any, begin: Any) -> None:
    run = begin(build.plan(build.cell(CELL)))
    run.ran(CELL)

    run.plan_sha256 = "f" * 64

    assert _codes(run.judge()) == [("INVALID", "plan_changed")]


def test_an_empty_journal_invalidates(build: Any) -> None:
    planned = build.plan(build.cell(CELL))

    judged = verdict.judge(planned, "a" * 64, [], [])

    assert (judged.word, judged.reasons[0].code, _outcomes(judged)) == ("INVALID", "plan_changed", {CELL: "interrupted"})


def test_a_bundle_that_cannot_be_read_is_invalid_with_every_cell_accounted_for(build: Any, begin: Any) -> None:
    run = begin(build.plan(build.cell("text[1]"), build.cell("text[2]")))
    run.ran("text[1]")
    run.journal.write_bytes(run.journal.read_bytes().replace(b"passed", b"failed"))

    with pytest.raises(BundleError) as damage:
        run.judge()
    judged = verdict.invalid(run.plan, str(damage.value))

    assert (judged.word, judged.exit_code) == ("INVALID", 3)
    assert judged.reasons[0].sentence.startswith("journal.jsonl:3: ")
    assert _outcomes(judged) == {"text[1]": "interrupted", "text[2]": "interrupted"}


def test_a_cell_carries_the_facts_of_its_last_attempt(build: Any, begin: Any) -> None:
    run = begin(build.plan(build.cell(CELL)))
    run.ran(CELL, "debt", 1, tests=3)
    run.ran(CELL, "passed", 2, tests=2, duration_s=7.5, peak_bytes=42, log="logs/cell.2.log")

    (cell,) = run.judge().cells

    assert (cell.attempts, cell.tests, cell.duration_s, cell.peak_bytes, cell.log) == (2, 2, 7.5, 42, "logs/cell.2.log")
    assert cell.evidence == ("journal:2", "journal:3", "journal:4", "journal:5")
