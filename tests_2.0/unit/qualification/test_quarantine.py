"""A known failure is excused only as its entry says: by whom, why, where, and until when."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qualification import gate, matrix
from qualification.declared import Quarantined
from qualification.errors import MatrixError
from qualification.outcome import Ended, classify
from qualification.portfolio import Capacity

TEST = "tests_2.0/live/test_a.py::test_0"
MATRIX = """\
matrix: 1
about: One group.
pythons: ["3.12"]
tiers:
  16gb: {ram: 16 GiB, text_budget: 40%, vision_limit: 70%, audio_floor: 4 GiB}
quarantine: known.yaml
groups:
  one: {process: wet, tests: [tests], gate: blocker}
require: {pythons: all, tiers: [this]}
"""
KNOWN = """\
quarantine: 1
tests:
  - {test: "tests/test_a.py::test_it", owner: al, reason: off by one, issue: "#7", expires: 2026-12-31}
"""


def _entry(**changes: Any) -> Quarantined:
    return Quarantined(**{"owner": "al", "reason": "off by one", "issue": "#7", "expires": "2026-12-31", "test": TEST, **changes})


def test_a_matrix_names_its_quarantine_and_is_another_matrix_with_another_one(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(MATRIX)
    (tmp_path / "known.yaml").write_text(KNOWN)

    before = matrix.load(tmp_path / "m.yaml")
    now = matrix.reader_of_sha256(tmp_path / "m.yaml")
    assert now() == before.sha256
    (tmp_path / "known.yaml").write_text(KNOWN.replace("2026", "2027"))

    assert before.quarantine == (_entry(test="tests/test_a.py::test_it"),)
    assert matrix.load(tmp_path / "m.yaml").sha256 == now() != before.sha256


@pytest.mark.parametrize(
    ("wrong", "right", "refusal"),
    [
        ("2026-12-31", "2026-02-30", "known.yaml:3: tests[0].expires: '2026-02-30' is not of the form 2026-12-31, a day"),
        ("2026-12-31", "soon", "known.yaml:3: tests[0].expires: 'soon' is not of the form"),
        (", owner: al", "", "known.yaml:3: tests[0] lacks the key 'owner'"),
        (', issue: "#7"', "", "known.yaml:3: tests[0] lacks the key 'issue'"),
        ("owner: al", "ovner: al, owner: al", "known.yaml:3: unknown key 'ovner' in tests[0]; did you mean 'owner'?"),
        ('test: "tests/test_a.py::test_it", ', "", "known.yaml:3: tests[0] has neither 'test' nor 'cell'"),
        ("quarantine: 1\n", "", "known.yaml:1: the quarantine lacks the key 'quarantine'"),
        (KNOWN, "", "known.yaml:1: the quarantine is empty"),
    ],
)
def test_a_wrong_entry_is_one_sentence_with_its_line(tmp_path: Path, wrong: str, right: str, refusal: str) -> None:
    (tmp_path / "m.yaml").write_text(MATRIX)
    (tmp_path / "known.yaml").write_text(KNOWN.replace(wrong, right, 1))

    with pytest.raises(MatrixError) as refused:
        matrix.load(tmp_path / "m.yaml")

    assert str(refused.value).removeprefix(f"{tmp_path}/").startswith(refusal)


def test_a_quarantine_that_is_not_there_is_told_where_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(MATRIX)

    with pytest.raises(MatrixError, match=r"m.yaml:6: there is no 'known.yaml' beside the matrix"):
        matrix.load(tmp_path / "m.yaml")


@pytest.mark.parametrize(
    ("entry", "test", "excused"),
    [
        (TEST, TEST, True),
        (TEST, f"{TEST}[mint/llama-tiny]", True),
        (f"{TEST}[mint/llama-tiny]", f"{TEST}[mint/llama-tiny]", True),
        (f"{TEST}[mint/llama-tiny]", f"{TEST}[mint/phi3-tiny]", False),
        (TEST, f"{TEST}0", False),
        (TEST, "tests_2.0/live/test_a.py::test_1", False),
        (None, TEST, False),
    ],
)
def test_an_entry_excuses_its_test_with_any_parameters_and_no_other(entry: str | None, test: str, excused: bool) -> None:
    assert _entry(test=entry).excuses(test) is excused


@pytest.mark.parametrize(("day", "expired"), [("2026-12-30", False), ("2026-12-31", False), ("2027-01-01", True)])
def test_an_entry_holds_until_its_day_is_over(day: str, expired: bool) -> None:
    assert _entry().expired(day) is expired


@pytest.mark.parametrize(
    ("name", "covered"),
    [(None, True), ("text", True), ("py312-locked", True), ("org/a-llama", True), ("it", True), ("org/other", False)],
)
def test_an_entry_covers_cells_by_any_of_their_names(build: Any, name: str | None, covered: bool) -> None:
    cell = build.cell("it", group="text", model=build.model())

    assert _entry(cell=name).covers(cell.names) is covered


@pytest.mark.parametrize(("entry", "code"), [({"test": None, "cell": "text"}, "quarantined"), ({"cell": "text"}, "runs")])
def test_only_an_entry_without_a_test_keeps_its_cells_from_running(build: Any, entry: dict[str, Any], code: str) -> None:
    facts = gate.Facts(Capacity(build.tiers[0]), frozenset({"3.12"}), 1 << 50, quarantine=(_entry(**entry),))

    assert gate.decide(build.cell("it", group="text"), facts).code == code


def _ended(**changes: Any) -> Ended:
    given = {"returncode": 1, "how": "exited", "collected": (TEST, TEST + "0"), "running": None, "survivors": ()}
    return Ended(**{**given, "duration_s": 1.0, "peak_bytes": 1, **changes})


@pytest.mark.parametrize(
    ("second", "changes", "outcome"),
    [
        ({"outcome": "passed"}, {}, "quarantined"),
        ({"outcome": "failed"}, {}, "failed"),
        ({"outcome": "skipped"}, {}, "debt"),
        ({"outcome": "passed", "reruns": 1}, {}, "flaky"),
        ({"outcome": "passed"}, {"survivors": ("sleep",)}, "leaked"),
        ({"outcome": "passed"}, {"returncode": -11}, "crashed"),
    ],
)
def test_an_excused_failure_hides_nothing_else(build: Any, second: dict[str, Any], changes: dict[str, Any], outcome: str) -> None:
    records = [build.record(TEST, outcome="failed"), build.record(TEST + "0", **second)]

    assert classify(_ended(**changes), records, [_entry()]).outcome == outcome


def test_an_excused_failure_tells_whose_it_is(build: Any) -> None:
    judged = classify(_ended(collected=(TEST,)), [build.record(TEST, outcome="failed")], [_entry()])

    assert judged.reason == f"failed as expected: {TEST} until 2026-12-31 (al: off by one, #7)"


CELL = "text[py312-locked]"


@pytest.mark.parametrize(
    ("entry", "outcome", "word", "codes"),
    [
        ({}, "quarantined", "QUALIFIED_WITH_EXCEPTIONS", ["quarantined"]),
        ({}, "passed", "NOT_QUALIFIED", ["quarantine_over"]),
        ({"expires": "2026-01-01"}, "quarantined", "NOT_QUALIFIED", ["quarantine_expired", "quarantined"]),
        ({"cell": "another"}, "passed", "QUALIFIED", []),
        ({"test": "tests/another.py::test_it"}, "passed", "QUALIFIED", []),
        ({"cell": "another"}, "quarantined", "INVALID", ["pass_unproven", "quarantined"]),
    ],
)
def test_an_entry_that_is_over_fails_the_gate(
    build: Any, begin: Any, entry: dict[str, Any], outcome: str, word: str, codes: list[str]
) -> None:
    expires = {"expires": "9999-12-31"}
    run = begin(build.plan(build.cell(CELL), quarantine=(_entry(**{**expires, **entry}),)))

    run.ran(CELL, outcome)

    judged = run.judge()
    assert (judged.word, [reason.code for reason in judged.reasons]) == (word, codes)


def test_a_cell_in_quarantine_is_an_exception_and_no_debt(build: Any, begin: Any) -> None:
    run = begin(build.plan(build.cell(CELL), quarantine=(_entry(test=None, cell="text", expires="9999-12-31"),)))

    run.gated(CELL, code="quarantined")

    judged = run.judge()
    assert (judged.word, judged.cells[0].outcome) == ("QUALIFIED_WITH_EXCEPTIONS", "quarantined")


@pytest.mark.parametrize(
    "entries",
    [
        (),
        ({"test": None, "cell": "another", "expires": "9999-12-31"},),
        ({"test": TEST, "cell": CELL, "expires": "9999-12-31"},),
        ({"test": None, "cell": CELL, "expires": "2026-01-01"},),
    ],
    ids=["none", "of another cell", "of a test", "expired"],
)
def test_a_cell_is_kept_from_running_by_no_quarantine_that_the_plan_does_not_have(
    build: Any, begin: Any, entries: tuple[dict[str, Any], ...]
) -> None:
    run = begin(build.plan(build.cell(CELL), quarantine=tuple(_entry(**entry) for entry in entries)))

    run.gated(CELL, code="quarantined")

    judged = run.judge()
    assert (judged.word, judged.reasons[0].code) == ("INVALID", "quarantine_unplanned")
    assert judged.reasons[0].evidence == ("journal:2",)


@pytest.mark.parametrize(("budget", "word"), [(2, "QUALIFIED_WITH_EXCEPTIONS"), (1, "NOT_QUALIFIED"), (0, "NOT_QUALIFIED")])
def test_tests_that_passed_only_when_run_again_have_a_budget(build: Any, begin: Any, budget: int, word: str) -> None:
    run = begin(build.plan(build.cell(CELL), flaky=budget))

    run.ran(CELL, "flaky", tests=2)

    judged = run.judge()
    assert judged.word == word
    assert ("2 passed only when run again" in judged.reasons[0].sentence) is (budget < 2)
