"""The names that documents of earlier releases have for tests lead to the tests of today."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from qualification.plugin import earlier, selection

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", earlier.NOW)
def test_an_earlier_name_leads_to_a_test_of_today_and_is_no_other_file(name: str) -> None:
    file, _, test = earlier.NOW[name].partition("::")
    function, _, parameters = test.partition("[")
    module = (ROOT / file).read_text(encoding="utf-8")

    assert f"def {function}" in module
    assert f'"{parameters.removesuffix("]")}"' in module or not parameters
    assert "::" in name or not (ROOT / name).exists()


def test_a_command_of_an_earlier_document_runs_and_tells_the_new_name() -> None:
    name = "tests_2.0/test_push_extended.py::test_push_retry_creates_branch_on_upload_revision_error"
    argv = [sys.executable, "-m", "pytest", "--collect-only", "-v", "-p", "no:cacheprovider", name, name]

    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)

    assert done.returncode == 0, done.stdout
    assert f"{name} is now {earlier.NOW[name]}" in done.stdout
    assert "collected 1 item" in done.stdout


def test_the_umbrella_runs_every_group_of_live_tests_but_what_only_measures_or_shows() -> None:
    script = (ROOT / "scripts/test-wet-umbrella.sh").read_text(encoding="utf-8")
    (groups,) = (line for line in script.splitlines() if line.startswith("for marks in "))

    assert set(groups.removeprefix("for marks in ").removesuffix("; do").split()) == {"wet", *selection.SEPARATE} - {"benchmark"}
