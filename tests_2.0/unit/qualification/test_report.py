"""What a bundle tells: the page, the document and the lines on a terminal say the same, whatever a test was called."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from html.parser import HTMLParser
from typing import Any

import pytest

from qualification import machine, records, verdict
from qualification.plan import Plan
from qualification.report import html, summary, terminal, verdict_json
from qualification.report.run import Run
from qualification.verdict import Reason

CELL = "text[py312-locked]"
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;{{ 7 * 7 }}"


class Page(HTMLParser):
    """A page as a browser would take it apart: its tags, the texts between them, and the values of attributes."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: dict[str, list[str]] = {}
        self.text = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, []).append(value or "")

    def handle_data(self, data: str) -> None:
        self.text += data


def _page(run: Any, judged: verdict.Verdict | None = None, written: list[dict[str, Any]] | None = None) -> Page:
    lines = [record for _, record, _ in records.read(run.tests)] if written is None else written
    here = asdict(machine.observe())
    told = Run("run-1", "2026-01-02T03:04:05Z", run.plan, judged or run.judge(), (here,), tuple(lines))
    return Page(html.render(told))


def _document(planned: Plan, judged: verdict.Verdict) -> dict[str, Any]:
    told = Run("run-1", "2026-01-02T03:04:05Z", planned, judged)
    document: dict[str, Any] = json.loads(verdict_json.render(told))
    return document


def test_every_cell_of_the_plan_stands_on_the_page_with_its_outcome(build: Any, begin: Any) -> None:
    models = [build.model(f"org/model-{number}") for number in range(3)]
    cells = [build.cell(f"text[py3{p},{model.model_id}]", python=f"3.{p}", model=model) for p in (10, 12) for model in models]
    run = begin(build.plan(*cells, build.cell("unit[py312-locked]")))
    for cell in cells[:4]:
        run.ran(cell.id, "failed" if cell is cells[0] else "passed")

    titles = _page(run).attributes["title"]

    assert sorted(title.partition(": ")[0] for title in titles) == sorted(cell.id for cell in run.plan.cells)


def test_each_outcome_is_on_the_page_as_often_as_it_was_counted(build: Any, begin: Any) -> None:
    cells = [build.cell(f"text[{number}]") for number in range(5)]
    run = begin(build.plan(*cells))
    for cell, outcome in zip(cells, ("passed", "flaky", "passed", "debt"), strict=False):
        run.ran(cell.id, outcome)

    shown = _page(run, written=[]).attributes["class"]

    judged = run.judge()
    assert {outcome: shown.count(f"o {outcome}") for outcome in judged.counts} == judged.counts


def test_what_a_test_is_called_and_says_is_text_and_never_markup(build: Any, begin: Any) -> None:
    model = build.model(HOSTILE)
    cell = build.cell(f"text[{HOSTILE}]", model=model)
    run = begin(build.plan(cell))
    run.ran(cell.id, "failed", reason=HOSTILE)

    tame, hostile = (
        build.record(name, cell=name, outcome="failed", reason=name, model={"id": name}) for name in ("tame", HOSTILE)
    )
    page = _page(run, written=[hostile, hostile])

    assert page.tags == _page(run, written=[tame, tame]).tags
    assert not {"script", "img"} & set(page.tags)
    assert "onerror" not in page.attributes
    assert page.text.count(HOSTILE) >= 5


def test_the_page_needs_no_network(build: Any, begin: Any) -> None:
    run = begin(build.plan(build.cell(CELL)))
    run.ran(CELL)

    page = _page(run)

    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert all(not re.match(r"[a-z]+:|//", target) for target in page.attributes["href"])
    assert "logs/cell.1.log" in page.attributes["href"]


@pytest.mark.parametrize("word", ["empty", "gated", "invalid"])
def test_a_page_renders_where_nothing_ran(build: Any, begin: Any, word: str) -> None:
    run = begin(build.plan(build.cell(CELL), build.cell("text[2]")))
    if word == "gated":
        run.gated(CELL)
    judged = verdict.invalid(run.plan, "journal.jsonl:3: it was changed") if word == "invalid" else run.judge()

    page = _page(run, judged)

    assert judged.word in page.text
    assert all(reason.sentence in page.text for reason in judged.reasons)


def test_a_record_that_says_the_least_a_record_may_renders(build: Any, begin: Any) -> None:
    run = begin(build.plan(build.cell(CELL)))

    page = _page(run, written=[build.record(outcome="failed")])

    assert "no reason given" in page.text


def test_debt_says_what_pays_it(build: Any, begin: Any) -> None:
    run = begin(build.plan(build.cell(CELL)))
    run.gated(CELL)

    assert "it is too large" in _page(run).text
    assert "a larger machine" in _page(run).text


def test_a_page_does_not_claim_that_cells_ran_that_did_not(build: Any, begin: Any) -> None:
    run = begin(build.plan(build.cell(CELL), groups=()))
    run.gated(CELL)

    judged = run.judge()

    assert judged.word == "QUALIFIED"
    assert "Every cell of the plan ran" not in _page(run).text


def test_a_model_has_one_row_with_medians_over_its_measured_tests(build: Any) -> None:
    speeds = [10.0, 40.0, 20.0, 50.0, None]
    lines = [
        build.record(
            duration=2.0,
            model={"id": "org/a", "size_gb": 1.073741824},
            metadata={"inference_modality": "text"},
            **({"performance": {"generation_tps": speed, "time_to_first_token_s": speed / 64}} if speed else {}),
        )
        for speed in speeds
    ]

    measured, other = summary.model_rows([*lines, build.record(), build.record(model={"id": "org/b"})])

    assert (measured.model, measured.size_gb, measured.mode, measured.tests, measured.seconds) == (
        "org/a",
        1.073741824,
        "text",
        5,
        10.0,
    )
    assert measured.generation_tps is not None and measured.first_token_s is not None
    assert (measured.generation_tps.median, measured.first_token_s.median) == (30.0, 0.46875)
    assert (other.model, other.size_gb, other.mode, other.tests, other.generation_tps) == ("org/b", None, "unknown", 1, None)


@pytest.mark.parametrize("outcome", ["passed", "failed", "debt", "flaky", None])
def test_the_document_follows_its_schema_and_accounts_for_every_cell(build: Any, begin: Any, outcome: str | None) -> None:
    run = begin(build.plan(build.cell(CELL), build.cell("text[2]")))
    if outcome:
        run.ran(CELL, outcome)
    judged = run.judge()

    document = _document(run.plan, judged)

    assert (document["word"], document["exit_code"]) == (judged.word, judged.exit_code)
    assert [cell["cell"] for cell in document["cells"]] == [cell.id for cell in run.plan.cells]
    assert sum(document["counts"].values()) == len(run.plan.cells)
    assert document["inputs"]["wheel_sha256"] == "c" * 64


def test_the_document_of_a_damaged_bundle_follows_its_schema(build: Any) -> None:
    planned = build.plan(build.cell(CELL))

    document = _document(planned, verdict.invalid(planned, "it was changed"))

    assert document["reasons"] == [{"weighs": "INVALID", "code": "damaged", "sentence": "it was changed", "evidence": []}]


def test_a_terminal_gets_the_word_then_each_reason_then_where_to_look(build: Any, begin: Any) -> None:
    run = begin(build.plan(build.cell("text[1]"), build.cell("text[2]"), build.cell("text[3]")))
    run.ran("text[1]", tests=2)
    run.ran("text[2]", "failed", tests=1)

    assert terminal.render(run.plan, run.judge(), "reports/run-1/index.html").splitlines() == [
        "NOT_QUALIFIED: matrix release, tier 64gb, 3 cells (1 failed, 1 interrupted, 1 passed), 3 tests",
        "  examined: mlxk-2.0.0-py3-none-any.whl (sha256 cccccccccccc)",
        "  NOT_QUALIFIED failed: text[2]: it failed [journal:4, journal:5]",
        "  INCOMPLETE interrupted: text[3]: the run stopped before it began; paid by `make resume`",
        "  report: reports/run-1/index.html",
    ]


def test_a_terminal_gets_no_control_character_and_one_line_for_each_reason(build: Any) -> None:
    planned = build.plan(build.cell(CELL))
    hostile = verdict.Verdict("INVALID", (Reason("INVALID", "damaged", "a\x1b[2Jb\nQUALIFIED\r\x07é"),), ())

    lines = terminal.render(planned, hostile, "index.html").split("\n")

    assert lines[2] == "  INVALID damaged: a [2Jb QUALIFIED  é"
    assert len(lines) == 4
