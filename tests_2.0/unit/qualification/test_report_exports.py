"""Exports of a run: each is valid by the schema of its format, and says of every test and cell what the records say."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
import xmlschema

from qualification.report import ctrf, intoto, junit, markdown
from qualification.report.run import Run, load

DATA = Path(__file__).parent / "data"
HOSTILE = "]]><script>\x1b[31m\x00 & \ud83d\ude00 | `x` *b* \n# heading"


@pytest.fixture
def run(build: Any, begin: Any, sealed: Any, tmp_path: Path) -> Run:
    """Every kind of cell: passed, failed, flaky, owed, interrupted, and failed at the second attempt, with hostile reasons."""
    cells = [build.cell(f"text[{name}]") for name in ("good", "bad", "again", "owed", "begun", "twice")]
    made = begin(build.plan(*cells))
    made.ran("text[good]", tests=3, log="logs/1.log")
    made.ran("text[bad]", "failed", tests=2, reason=HOSTILE.replace("\ud83d\ude00", ""), log="logs/2.log")
    made.ran("text[again]", "flaky", tests=1, log="logs/3.log")
    made.gated("text[owed]")
    made.started("text[begun]")
    made.ran("text[twice]", "failed", tests=1, log="logs/4.log")
    made.ran("text[twice]", "passed", 2, tests=1, log="logs/5.log")
    return load(sealed(made, tmp_path / "bundle"))


def test_junit_follows_the_schema_that_jenkins_reads_it_by(run: Run) -> None:
    xmlschema.XMLSchema(DATA / "junit-10.xsd").validate(junit.render(run))


def test_junit_says_of_every_record_and_cell_what_became_of_it(run: Run) -> None:
    root = ElementTree.fromstring(junit.render(run))

    def count(cases: Any) -> Counter[str]:
        return Counter(
            next((kind for kind in ("failure", "error", "skipped") if case.find(kind) is not None), "passed") for case in cases
        )

    cases = list(root.iter("testcase"))
    cells = [case for case in cases if case.get("classname") == "qualification.cells"]
    assert count(case for case in cases if case not in cells) == {"passed": 5, "failure": 3}
    assert count(cells) == {"passed": 3, "error": 1, "skipped": 2}
    assert root.get("tests") == str(len(cases))
    assert (root.get("failures"), root.get("errors")) == ("3", "1")


def test_text_that_xml_cannot_hold_is_replaced_and_none_is_markup(run: Run) -> None:
    hostile = {**run.records[0], "outcome": "failed", "reason": HOSTILE, "test": f"tests/test_a.py::test_{HOSTILE}"}
    written = junit.render(Run(run.id, run.began, run.plan, run.verdict, records=(hostile,)))

    xmlschema.XMLSchema(DATA / "junit-10.xsd").validate(written)
    assert "<script>" not in written
    assert "\x1b" not in written and "\x00" not in written


def test_ctrf_follows_its_schema_and_counts_what_it_lists(run: Run) -> None:
    document = json.loads(ctrf.render(run))
    schema = json.loads((DATA / "ctrf.schema.json").read_text(encoding="utf-8"))

    jsonschema.validate(document, schema, format_checker=jsonschema.FormatChecker())
    results = document["results"]
    counted = Counter(test["status"] for test in results["tests"])
    assert {key: results["summary"][key] for key in ("passed", "failed", "skipped", "pending", "other")} == {
        "passed": 5 + 3, "failed": 3 + 1, "skipped": 0, "pending": 2, "other": 0,
    }  # fmt: skip
    assert results["summary"]["tests"] == sum(counted.values()) == len(run.records) + len(run.verdict.cells)
    assert results["summary"]["start"] == 1_000_000 and results["summary"]["stop"] == 1_001_500


def test_ctrf_of_a_run_in_which_nothing_ran_follows_its_schema(build: Any, begin: Any, sealed: Any, tmp_path: Path) -> None:
    run = load(sealed(begin(build.plan(build.cell())), tmp_path / "bundle"))
    schema = json.loads((DATA / "ctrf.schema.json").read_text(encoding="utf-8"))

    jsonschema.validate(json.loads(ctrf.render(run)), schema)


def test_the_same_run_gives_the_same_bytes(run: Run) -> None:
    assert junit.render(run) == junit.render(run)
    assert ctrf.render(run) == ctrf.render(run)


@pytest.mark.parametrize(
    ("outcome", "result"), [("passed", "PASSED"), ("flaky", "WARNED"), ("failed", "FAILED"), (None, "FAILED")]
)
def test_an_in_toto_statement_is_about_the_wheel_and_says_how_it_went(
    build: Any, begin: Any, sealed: Any, tmp_path: Path, outcome: str | None, result: str
) -> None:
    made = begin(build.plan(build.cell("text[1]"), flaky=1))
    if outcome:
        made.ran("text[1]", outcome, log="logs/1.log")
    statement = json.loads(intoto.render(load(sealed(made, tmp_path / "bundle")), "e" * 64))

    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert statement["subject"] == [{"name": "mlxk-2.0.0-py3-none-any.whl", "digest": {"sha256": "c" * 64}}]
    predicate = statement["predicate"]
    assert predicate["result"] == result
    lists = {key: predicate[key] for key in ("passedTests", "warnedTests", "failedTests")}
    assert sorted(name for names in lists.values() for name in names) == ["text[1]"]
    assert lists[f"{result.lower()}Tests"] == ["text[1]"]
    assert {"name": "run-1/manifest.json", "digest": {"sha256": "e" * 64}} in predicate["configuration"]


def test_markdown_has_the_word_first_and_a_row_for_each_cell_and_no_text_is_markup(run: Run) -> None:
    lines = markdown.render(run).splitlines()

    assert lines[0].endswith("NOT_QUALIFIED")
    rows = [line for line in lines if line.startswith("| text")]
    assert len(rows) == len(run.verdict.cells)
    assert all(line.count(" | ") == 4 for line in rows)
    assert not any(line.startswith("# heading") for line in lines)
    assert "<script>" not in "\n".join(lines)


def test_markdown_of_very_many_cells_stays_short(build: Any, begin: Any, sealed: Any, tmp_path: Path) -> None:
    run = load(sealed(begin(build.plan(*(build.cell(f"text[{number}]") for number in range(300)))), tmp_path / "bundle"))

    written = markdown.render(run)

    assert len(written.encode()) < 64_000
    assert "and 250 more" in written
