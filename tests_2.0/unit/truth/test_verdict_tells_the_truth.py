"""A verdict says what was shown, and goes on saying it: whoever is killed, whatever is changed, resumed or quarantined."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import sys
import time
from datetime import date, timedelta

import psutil
import pytest

from qualification.cli import main

CHILD = """
import subprocess, sys, pathlib

def child(**how):
    project = str(pathlib.Path(__file__).parents[2])
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", project], **how)
"""

GOOD = """
def test_good():
    assert True
"""

QUARANTINE = """\
quarantine: 1
tests:
  - {test: "tests/known/test_known.py::test_bad", owner: al, reason: off by one, issue: "#7", expires: %(day)s}
  - {cell: never, owner: al, reason: takes the machine down, issue: "#8", expires: %(day)s}
"""


@pytest.fixture(scope="module")
def qualified(made, tmp_path_factory):
    """A project of two groups that has qualified, and what was said of it; tests copy its bundle."""
    groups = {"first": made.group(GOOD), "second": made.group(GOOD)}
    project = made.project(tmp_path_factory.mktemp("qualified") / "project", groups)
    return project, *project.examine()


def test_a_project_whose_tests_pass_qualifies(qualified):
    project, code, verdict, said = qualified

    assert (code, verdict["word"]) == (0, "QUALIFIED")
    assert verdict["counts"] == {"passed": 2}
    assert said.startswith("QUALIFIED: matrix matrix, tier 16gb, 2 cells (2 passed), 2 tests")
    assert project.left_behind() == []


def test_cells_run_one_after_another_unless_the_matrix_says_that_they_need_no_model(qualified):
    project, *_ = qualified

    journal = (project.reports / "latest/journal.jsonl").read_text(encoding="utf-8").splitlines()

    assert [json.loads(line)["event"] for line in journal[1:]] == ["cell_started", "cell_finished"] * 2


@pytest.mark.parametrize("name", ["plan.json", "tests.jsonl", "memory.jsonl", "machine.json", "journal.jsonl", "logs/first*"])
def test_one_changed_byte_in_a_sealed_bundle_is_invalid_and_stays_so(qualified, tmp_path, name):
    project, *_ = qualified
    bundle = shutil.copytree((project.reports / "latest").resolve(), tmp_path / "bundle")
    (file,) = bundle.glob(name)
    content = file.read_bytes()
    file.write_bytes(content.replace(b"1", b"2", 1))
    assert file.read_bytes() != content

    codes = [project.verdict(bundle)[0] for _ in range(2)]

    assert codes == [3, 3]


def test_an_old_verdict_does_not_outlive_a_new_run(qualified, tmp_path):
    project, *_ = qualified
    bundle = shutil.copytree((project.reports / "latest").resolve(), tmp_path / "bundle")
    assert (bundle / "verdict.json").exists()

    assert main(["run", str(bundle), "--environment", _environment(bundle), "--project", str(project.root), "--resume"]) == 0

    assert not (bundle / "verdict.json").exists()
    assert not (bundle / "index.html").exists()


def test_two_runs_on_one_bundle_are_one_too_many(qualified, tmp_path, capsys):
    project, *_ = qualified
    bundle = shutil.copytree((project.reports / "latest").resolve(), tmp_path / "bundle")

    with (bundle / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        code = main(["run", str(bundle), "--environment", _environment(bundle), "--project", str(project.root)])

    assert code == 2
    assert "another run is working on" in capsys.readouterr().err


def test_a_run_is_refused_when_its_tests_are_not_those_of_the_plan(qualified, tmp_path, capsys):
    project, *_ = qualified
    changed = shutil.copytree(project.root, tmp_path / "changed", symlinks=True)
    (changed / "tests/first/test_first.py").write_text("def test_easier():\n    pass\n")
    bundle = changed / "reports/latest"

    code = main(["run", str(bundle), "--environment", _environment(bundle), "--project", str(changed)])

    assert code == 2
    assert "changed since the plan was made: the tests or their settings" in capsys.readouterr().err


def test_a_known_failure_is_an_exception_until_its_day_and_fails_the_gate_after_it(made, tmp_path):
    groups = {
        "known": made.group(GOOD + "\ndef test_bad():\n    assert False\n", keys="cpu: true"),
        "never": made.group("def test_it():\n    raise SystemExit('it ran')\n", keys="cpu: true"),
        "third": made.group(GOOD, keys="cpu: true"),
    }
    project = made.project(tmp_path / "project", groups)
    project.matrix.write_text(project.matrix.read_text() + "quarantine: quarantine.yaml\n")
    quarantine = project.root / "quarantine.yaml"
    quarantine.write_text(QUARANTINE % {"day": date.today() + timedelta(days=7)})

    code, verdict, said = project.examine()

    assert (code, verdict["word"]) == (4, "QUALIFIED_WITH_EXCEPTIONS")
    assert {name: outcome for name, (outcome, _) in project.cells(verdict).items()} == {
        "known": "quarantined", "never": "quarantined", "third": "passed",
    }  # fmt: skip
    assert "al: off by one, #7" in said
    assert "al: takes the machine down, #8" in said

    quarantine.write_text(QUARANTINE % {"day": date.today() - timedelta(days=1)})
    project.plan()
    project.run("--only", "third")
    assert [reason["code"] for reason in project.verdict()[1]["reasons"]][:2] == ["quarantine_expired"] * 2


@pytest.mark.parametrize("killed", ["the runner", "the runner and its supervisor", "whoever started the runner"])
def test_kill_9_keeps_what_had_finished_and_leaves_no_process(project, killed):
    examined = project(
        CHILD
        + GOOD
        + """
def test_is_under_way():
    import time
    child()
    (pathlib.Path(__file__).parents[2] / "under_way").touch()
    time.sleep(600)
""",
        second=True,
    )
    examined.plan()
    starter = [sys.executable, "-c", "import subprocess, sys; subprocess.run(sys.argv[1:])", *examined.run_command()]
    started = subprocess.Popen(starter, cwd=examined.root, env=examined.environment(), stdout=subprocess.DEVNULL)
    _until((examined.root / "under_way").exists)
    (runner,) = psutil.Process(started.pid).children()
    if killed == "whoever started the runner":
        started.kill()
    elif killed == "the runner and its supervisor":
        runner.children()[0].kill()
        runner.kill()
    else:
        runner.kill()
    started.wait()

    _until(lambda: not examined.living() and _has_ended(runner))  # it works on its bundle to its last moment
    if killed != "the runner and its supervisor":
        _until(lambda: not examined.left_behind())
    code, verdict, said = examined.verdict()

    assert (code, verdict["word"]) == (5, "INCOMPLETE")
    assert examined.cells(verdict)["first"] == ("interrupted", "the run stopped while it ran, after 1 of its tests")
    assert examined.cells(verdict)["second"] == ("interrupted", "the run stopped before it began")
    assert "INCOMPLETE" in said


def test_resume_runs_what_is_missing_and_nothing_that_had_ended(project):
    examined = project(
        """
import os, pathlib, time

def test_hangs_the_first_time():
    been_here = pathlib.Path(__file__).parents[2] / "been_here"
    if not been_here.exists():
        been_here.touch()
        time.sleep(600)
""",
        second=True,
    )
    examined.plan()
    examined.run("--only", "second")
    runner = subprocess.Popen([*examined.run_command(), "--resume"], cwd=examined.root, env=examined.environment())
    _until((examined.root / "been_here").exists)
    runner.kill()
    runner.wait()
    _until(lambda: not examined.living())

    examined.run("--resume")
    code, verdict, _ = examined.verdict()

    assert (code, verdict["word"]) == (0, "QUALIFIED")
    assert {cell["cell"].partition("[")[0]: cell["attempts"] for cell in verdict["cells"]} == {"first": 2, "second": 1}


def test_a_test_that_changes_another_while_they_run_proves_nothing(project):
    examined = project(
        GOOD
        + """
def test_sly():
    from pathlib import Path
    Path(__file__).parents[1].joinpath("second/test_second.py").write_text("")
""",
        second=True,
    )

    code, verdict, _ = examined.examine()

    assert (code, verdict["word"]) == (1, "NOT_QUALIFIED")
    assert examined.cells(verdict)["first"] == ("harness_error", "changed while it ran: the tests or their settings")


def _environment(bundle):
    return json.loads((bundle / "plan.json").read_text())["cells"][0]["id"].partition("[")[2].rstrip("]")


def _has_ended(process):
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _until(holds, patience_s=30.0):
    """Waits for something another process does; fails when it does not come about."""
    deadline = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
