"""Whatever a test does to its process, the verdict says so with the reason, and nothing of it is left running."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import time

import psutil
import pytest

CHILD = """
import subprocess, sys, pathlib

def child(**how):
    project = str(pathlib.Path(__file__).parent.parent)
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", project], **how)
"""

GOOD = """
def test_good():
    assert True
"""


def test_a_project_whose_tests_pass_qualifies(project):
    examined = project(GOOD, second=True)

    code, verdict, said = examined.examine()

    assert (code, verdict["word"]) == (0, "QUALIFIED")
    assert verdict["counts"] == {"passed": 2}
    assert said.startswith("QUALIFIED: matrix matrix, tier 16gb, 2 cells (2 passed), 2 tests")
    assert examined.left_behind() == []


@pytest.mark.parametrize("name", ["plan.json", "tests.jsonl", "memory.jsonl", "machine.json", "logs/first*"])
def test_one_changed_byte_in_a_sealed_bundle_is_invalid_and_stays_so(project, name):
    examined = project(GOOD)
    assert examined.examine()[0] == 0
    (file,) = (examined.reports / "latest").glob(name)
    content = file.read_bytes()
    file.write_bytes(content.replace(b"1", b"2", 1))
    assert file.read_bytes() != content

    codes = [examined.verdict()[0] for _ in range(2)]

    assert codes == [3, 3]


def test_signals_in_a_cell_are_those_of_an_ordinary_process(project):
    examined = project(
        """
import signal

def test_signals():
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
"""
    )

    assert examined.examine()[1]["word"] == "QUALIFIED"


def test_a_failing_test_is_not_qualified_and_names_the_assertion(project):
    examined = project("def test_bad():\n    assert 1 + 1 == 3\n" + GOOD, second=True)

    code, verdict, _ = examined.examine()

    assert (code, verdict["word"]) == (1, "NOT_QUALIFIED")
    assert examined.cells(verdict)["first"] == ("failed", "tests/test_first.py::test_bad: assert (1 + 1) == 3")
    assert examined.cells(verdict)["second"] == ("passed", "")


def test_a_test_that_hangs_deaf_to_signals_is_stopped_with_its_children_and_its_stacks_logged(project):
    examined = project(
        CHILD
        + """
import itertools

def test_hangs():
    child()
    sum(itertools.repeat(0))
""",
        timeout="4 s",
    )

    code, verdict, _ = examined.examine()

    assert (code, verdict["word"]) == (1, "NOT_QUALIFIED")
    outcome, reason = examined.cells(verdict)["first"]
    assert outcome == "timeout"
    assert "tests/test_first.py::test_hangs" in reason
    assert "in test_hangs" in next((examined.root / "reports/latest/logs").glob("first*")).read_text()
    assert examined.living() == []


def test_a_test_that_hangs_politely_fails_alone_and_the_next_one_still_runs(project):
    examined = project("import time\n\ndef test_hangs():\n    time.sleep(600)\n" + GOOD, timeout="8 s")

    code, verdict, _ = examined.examine()

    assert (code, verdict["word"]) == (1, "NOT_QUALIFIED")
    outcome, reason = examined.cells(verdict)["first"]
    assert outcome == "failed"
    assert "test_hangs: Failed: Timeout" in reason
    assert verdict["cells"][0]["tests"] == 2


def test_a_segfault_is_a_crash_that_names_the_test_it_happened_in(project):
    examined = project(CHILD + GOOD + "\ndef test_crashes():\n    child()\n    import ctypes\n    ctypes.string_at(0)\n")

    code, verdict, _ = examined.examine()

    assert (code, verdict["word"]) == (1, "NOT_QUALIFIED")
    assert examined.cells(verdict)["first"] == ("crashed", "killed by SIGSEGV in tests/test_first.py::test_crashes")
    assert verdict["cells"][0]["tests"] == 1
    assert examined.living() == []


def test_a_process_that_ends_early_with_code_0_is_a_crash(project):
    examined = project(GOOD + "\ndef test_leaves():\n    import os\n    os._exit(0)\n")

    code, verdict, _ = examined.examine()

    assert (code, verdict["word"]) == (1, "NOT_QUALIFIED")
    assert examined.cells(verdict)["first"][0] == "crashed"


def test_a_test_that_skips_itself_leaves_the_release_incomplete_with_its_reason(project):
    examined = project("import pytest\n\ndef test_shy():\n    pytest.skip('no model here')\n")

    code, verdict, _ = examined.examine()

    assert (code, verdict["word"]) == (5, "INCOMPLETE")
    outcome, reason = examined.cells(verdict)["first"]
    assert outcome == "debt"
    assert reason == "1 of 1 tests skipped themselves, so nothing is shown: tests/test_first.py::test_shy: no model here"


def test_one_skip_among_passes_is_debt_too(project):
    examined = project("import pytest\n\ndef test_shy():\n    pytest.skip('no model here')\n" + GOOD)

    code, verdict, _ = examined.examine()

    assert (code, verdict["word"]) == (5, "INCOMPLETE")
    assert examined.cells(verdict)["first"][0] == "debt"


@pytest.mark.parametrize(
    ("module", "word", "reason"),
    [
        ("import pytest\npytest.importorskip('nobody_wrote_this')\n", "INCOMPLETE", "could not import 'nobody_wrote_this'"),
        ("import pytest\npytest.skip('not today', allow_module_level=True)\n", "INCOMPLETE", "not today"),
        ("class TestIt:\n    def __init__(self): pass\n    def test_it(self): assert False\n", "NOT_QUALIFIED", "cannot collect"),
    ],
    ids=["importorskip", "module skip", "class that pytest passes over"],
)
def test_a_module_that_leaves_itself_out_is_told(project, module, word, reason):
    examined = project(GOOD)
    (examined.root / "tests/test_other.py").write_text(module)
    (examined.root / "matrix.yaml").write_text(
        (examined.root / "matrix.yaml").read_text().replace("tests/test_first.py", "tests")
    )

    _, verdict, _ = examined.examine()

    assert verdict["word"] == word
    assert reason in examined.cells(verdict)["first"][1]


@pytest.mark.parametrize("options", ["-k good", "--setup-only", "--collect-only"])
def test_options_that_a_project_sets_for_itself_do_not_reach_a_cell(project, options):
    examined = project(GOOD + "\ndef test_bad():\n    assert False\n")
    settings = examined.root / "pyproject.toml"
    settings.write_text(settings.read_text().replace('"-p"', ", ".join(f'"{option}"' for option in options.split()) + ', "-p"'))

    assert examined.examine()[1]["word"] == "NOT_QUALIFIED"


def test_a_conftest_that_drops_a_test_is_told(project):
    examined = project(GOOD + "\ndef test_bad():\n    assert False\n")
    (examined.root / "tests/conftest.py").write_text(
        "def pytest_collection_modifyitems(items):\n    items[:] = [item for item in items if 'bad' not in item.name]\n"
    )

    _, verdict, _ = examined.examine()

    assert verdict["word"] == "NOT_QUALIFIED"
    assert "test_bad: it was collected, and dropped" in examined.cells(verdict)["first"][1]


def test_a_test_that_forks_is_recorded_once(project):
    examined = project("import os\n\ndef test_forks():\n    if os.fork():\n        os.wait()\n")

    _, verdict, _ = examined.examine()

    assert verdict["cells"][0]["tests"] == 1


def test_a_test_that_is_recorded_twice_is_no_pass(project):
    examined = project(
        GOOD
        + """
def test_forges():
    import sys
    path = sys.argv[sys.argv.index("--report-output") + 1]
    with open(path) as written:
        line = written.readline()
    with open(path, "a") as file:
        file.write(line)
"""
    )

    code, verdict, _ = examined.examine()

    assert (code, verdict["word"]) == (1, "NOT_QUALIFIED")
    assert "test_good was recorded, and not run, or not so often" in examined.cells(verdict)["first"][1]


def test_a_thread_that_dies_fails_its_test(project):
    examined = project(
        "import threading\n\ndef test_thread():\n    t = threading.Thread(target=lambda: 1 / 0)\n    t.start()\n    t.join()\n"
    )
    settings = examined.root / "pyproject.toml"
    settings.write_text(settings.read_text() + 'filterwarnings = ["error::pytest.PytestUnhandledThreadExceptionWarning"]\n')

    assert examined.examine()[1]["word"] == "NOT_QUALIFIED"


def test_a_cell_without_tests_proves_nothing(project):
    examined = project("VALUE = 1\n")

    code, verdict, _ = examined.examine()

    assert (code, verdict["word"]) == (1, "NOT_QUALIFIED")
    assert examined.cells(verdict)["first"] == ("harness_error", "no test was collected, so the cell proves nothing")


def test_a_module_that_cannot_be_imported_fails_with_its_reason(project):
    examined = project("import a_module_that_nobody_wrote\n")

    code, verdict, _ = examined.examine()

    assert (code, verdict["word"]) == (1, "NOT_QUALIFIED")
    outcome, reason = examined.cells(verdict)["first"]
    assert outcome == "failed"
    assert "No module named 'a_module_that_nobody_wrote'" in reason


def test_a_process_left_running_is_a_leak_even_where_it_left_the_group(project):
    examined = project(CHILD + "\ndef test_forgets():\n    child(start_new_session=True)\n")

    code, verdict, _ = examined.examine()

    assert (code, verdict["word"]) == (1, "NOT_QUALIFIED")
    assert examined.cells(verdict)["first"][0] == "leaked"
    assert examined.living() == []


def test_separate_gives_each_test_a_process_and_a_crash_of_one_leaves_the_others_theirs(project):
    examined = project(
        """
import os

def test_one():
    os.environ["LEFT_BEHIND"] = "yes"

def test_two():
    import ctypes
    ctypes.string_at(0)

def test_three():
    assert "LEFT_BEHIND" not in os.environ
""",
        process="separate",
    )

    code, verdict, _ = examined.examine()

    assert (code, verdict["word"]) == (1, "NOT_QUALIFIED")
    assert examined.cells(verdict)["first"] == ("crashed", "killed by SIGSEGV in tests/test_first.py::test_two")
    assert verdict["cells"][0]["tests"] == 2


@pytest.mark.parametrize("killed", ["the runner", "the runner and its supervisor", "whoever started the runner"])
def test_kill_9_keeps_what_had_finished_and_leaves_no_process(project, killed):
    examined = project(
        CHILD
        + GOOD
        + """
def test_is_under_way():
    import time
    child()
    (pathlib.Path(__file__).parent.parent / "under_way").touch()
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

    _until(lambda: not examined.living())
    if killed != "the runner and its supervisor":
        _until(lambda: not examined.left_behind())
    code, verdict, said = examined.verdict()

    assert (code, verdict["word"]) == (5, "INCOMPLETE")
    assert examined.cells(verdict)["first"] == ("interrupted", "the run stopped while it ran, after 1 of its tests")
    assert examined.cells(verdict)["second"] == ("interrupted", "the run stopped before it began")
    assert "INCOMPLETE" in said


@pytest.mark.parametrize("cpu", [True, False])
def test_cells_run_beside_each_other_only_where_the_matrix_says_so(project, cpu):
    examined = project(GOOD, second=True, cpu=cpu)
    assert examined.examine()[1]["word"] == "QUALIFIED"
    journal = (examined.reports / "latest/journal.jsonl").read_text(encoding="utf-8")
    events = [json.loads(line)["event"] for line in journal.splitlines()]

    one_by_one = ["cell_started", "cell_finished"] * 2

    assert sorted(events[1:]) == sorted(one_by_one)
    assert (events[1:] == one_by_one) is not cpu


def test_resume_runs_what_is_missing_and_nothing_that_had_ended(project):
    examined = project(
        """
import os, pathlib, time

def test_hangs_the_first_time():
    been_here = pathlib.Path(__file__).parent.parent / "been_here"
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
        GOOD + "\ndef test_sly():\n    from pathlib import Path\n    Path(__file__).with_name('test_second.py').write_text('')\n",
        second=True,
    )

    code, verdict, _ = examined.examine()

    assert (code, verdict["word"]) == (1, "NOT_QUALIFIED")
    assert examined.cells(verdict)["first"] == ("harness_error", "changed while it ran: the tests or their settings")


def test_an_old_verdict_does_not_outlive_a_new_run(project):
    examined = project(GOOD)
    assert examined.examine()[0] == 0

    examined.run()

    assert not (examined.reports / "latest/verdict.json").exists()
    assert not (examined.reports / "latest/index.html").exists()


def test_two_runs_on_one_bundle_are_one_too_many(project, capfd):
    examined = project(GOOD)
    examined.plan()

    with (examined.reports / "latest/.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(subprocess.CalledProcessError) as refused:
            examined.run()

    assert refused.value.returncode == 2
    assert "another run is working on" in capfd.readouterr().err


def test_a_run_is_refused_when_its_tests_are_not_those_of_the_plan(project, capfd):
    examined = project(GOOD)
    examined.plan()
    (examined.root / "tests/test_first.py").write_text("def test_easier():\n    pass\n")

    with pytest.raises(subprocess.CalledProcessError) as refused:
        examined.run()

    assert refused.value.returncode == 2
    assert "changed since the plan was made: the tests or their settings" in capfd.readouterr().err


def _until(holds, patience_s=30.0):
    """Waits for something another process does; fails when it does not come about."""
    deadline = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
