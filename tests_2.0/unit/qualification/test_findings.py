"""What tests found is left beside their records: in the bundle of a cell, and below reports/ for a plain pytest."""

from __future__ import annotations

import json

import pytest

pytest_plugins = ["pytester"]

FOUND = {"org/m": {"end_tokens": ["<｜end▁of▁sentence｜>"]}}


@pytest.fixture
def finding(pytester):
    """A project whose one test leaves a finding."""
    pytester.makepyfile(
        f"""
        import pytest
        from qualification.plugin.findings import Findings, place_of

        @pytest.fixture
        def findings(pytestconfig):
            findings = Findings(place_of(pytestconfig, "found.json"))
            yield findings
            findings.write()

        def test_finds(findings):
            findings["org/m"] = {FOUND["org/m"]!r}

        def test_finds_nothing(pytestconfig):
            Findings(place_of(pytestconfig, "nothing.json")).write()
        """
    )
    return pytester


def test_a_plain_pytest_leaves_it_below_reports(finding):
    finding.runpytest_subprocess("-p", "qualification.plugin").assert_outcomes(passed=2)

    left = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in (finding.path / "reports").iterdir()}
    assert left == {"found.json": FOUND}


def test_a_cell_leaves_it_among_the_logs_of_its_bundle_and_nowhere_else(finding, tmp_path):
    cell = {"run": "r", "cell": "text[org/m, 3.12]", "attempt": 2, "python": "3.12", "dependencies": "locked", "model": None}
    places = {"progress": str(tmp_path / "progress"), "project": str(tmp_path)}
    (tmp_path / "cell.json").write_text(json.dumps({**cell, **places, "reruns": 0, "share": None}), encoding="utf-8")
    records = tmp_path / "bundle" / "tests.jsonl"
    records.parent.mkdir()
    options = ("--cell", str(tmp_path / "cell.json"), "--report-output", str(records))
    finding.runpytest_subprocess("-p", "qualification.plugin", *options).assert_outcomes(passed=2)

    left = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in (records.parent / "logs").iterdir()}
    assert left == {"text-org-m-3.12.2.found.json": FOUND}
    assert not (finding.path / "reports").exists()
