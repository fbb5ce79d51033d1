"""Whatever a test does to its process, its cell is named for it, with the reason, and nothing of it is left running.

Each fault is a group of one project, and all are examined in one run: what one of them does is no other's affair.
``QUALIFICATION_FAULT_ROUNDS=10 pytest tests_2.0/unit/truth/test_seeded_faults.py`` does it ten times.
"""

from __future__ import annotations

import os
import re

import pytest

CHILD = """
import subprocess, sys, pathlib

def child(code="", **how):
    project = str(pathlib.Path(__file__).parents[2])
    return subprocess.Popen([sys.executable, "-S", "-c", code + "import time; time.sleep(600)", project], **how)
"""
GOOD = "\ndef test_good():\n    assert True\n"
BAD = "\ndef test_bad():\n    assert 1 + 1 == 3\n"
FORGE = """
def test_forges():
    import sys
    path = sys.argv[sys.argv.index("--report-output") + 1]
    line = next(line for line in open(path) if "forged/test_forged.py::test_good" in line)
    with open(path, "a") as file:
        file.write(line)
"""
SIGNALS = """
import signal

def test_signals_are_those_of_an_ordinary_process():
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
"""
DAEMON = """
def test_daemon():
    import os, sys, pathlib
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for descriptor in (0, 1, 2):
                os.close(descriptor)
            sleeper = [sys.executable, "-S", "-c", "import time; time.sleep(600)", str(pathlib.Path(__file__).parents[2])]
            os.execve(sleeper[0], sleeper, {})
        os._exit(0)
    os.wait()
"""
LISTEN = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); "
SEPARATE = """
import os

def test_one():
    os.environ["LEFT_BEHIND"] = "yes"

def test_two():
    import ctypes
    ctypes.string_at(0)

def test_three():
    assert "LEFT_BEHIND" not in os.environ
"""
ORDERLY = """
SEEN = []

def test_01(): SEEN.append(1)
def test_02(): assert SEEN == [1]
def test_03(): SEEN.append(3)
def test_04(): assert SEEN == [1, 3]
"""

ALIKE = """
import pytest

@pytest.mark.parametrize("number", range(5))
def test_it(number):
    assert number < 5
"""
FILES = """
import tempfile

def test_forgets(tmp_path):
    tempfile.mkstemp(prefix="forgotten-")
    (tmp_path / "mine").touch()
"""
NETWORK = """
TRIED = []

def test_network():
    TRIED.append(1)
    if len(TRIED) < 3:
        raise ConnectionError("reset")
"""

FAULTS = {
    # name: code, outcome, pattern of the reason, further keys of the group
    "passes": (GOOD, "passed", "", ""),
    "signals": (SIGNALS, "passed", "", ""),
    "fails": (BAD + GOOD, "failed", r"fails.py::test_bad: assert \(1 \+ 1\) == 3", ""),
    "hangs_deaf": (
        CHILD + "\ndef test_hangs():\n    child()\n    import itertools\n    sum(itertools.repeat(0))\n",
        "timeout",
        r"stopped after \d+ s in tests/hangs_deaf/test_hangs_deaf.py::test_hangs; the log holds the stacks",
        "timeout: 5 s",
    ),
    "hangs_politely": (
        "import time\n\ndef test_hangs():\n    time.sleep(600)\n" + GOOD,
        "failed",
        "test_hangs: Failed: Timeout",
        "timeout: 10 s",
    ),
    "segfaults": (
        CHILD + GOOD + "\ndef test_crashes():\n    child()\n    import ctypes\n    ctypes.string_at(0)\n",
        "crashed",
        "killed by SIGSEGV in tests/segfaults/test_segfaults.py::test_crashes",
        "",
    ),
    "leaves_early": ("\ndef test_leaves():\n    import os\n    os._exit(0)\n", "crashed", "ended with code 0 in .*leaves", ""),
    "skips_all": (
        "import pytest\n\ndef test_shy():\n    pytest.skip('no model here')\n",
        "debt",
        "1 of 1 tests skipped themselves, so nothing is shown: .*::test_shy: no model here",
        "",
    ),
    "skips_one": ("import pytest\n\ndef test_shy():\n    pytest.skip('not here')\n" + GOOD, "debt", "1 of 2 tests skipped", ""),
    "skips_module": ("import pytest\npytest.skip('not today', allow_module_level=True)\n", "debt", "not today", ""),
    "cannot_import": ("import a_module_that_nobody_wrote\n", "failed", "No module named 'a_module_that_nobody_wrote'", ""),
    "imports_or_skips": (
        "import pytest\npytest.importorskip('nobody_wrote_this')\n",
        "debt",
        "could not import 'nobody_wrote_this'",
        "",
    ),
    "passed_over": (
        "class TestIt:\n    def __init__(self): pass\n    def test_it(self): assert False\n",
        "failed",
        "cannot collect",
        "",
    ),
    "dropped": (GOOD + BAD, "failed", "test_bad: it was collected, and dropped without being deselected", ""),
    "forks": ("import os\n\ndef test_forks():\n    if os.fork():\n        os.wait()\n", "passed", "", ""),
    "forged": (GOOD + FORGE, "harness_error", "test_good was recorded, and not run, or not so often", ""),
    "malformed": (
        "def test_tells(report_benchmark):\n    report_benchmark(performance={'tokens_per_sec': 'fast'})\n",
        "failed",
        "test_tells: its record violates the report schema: performance.tokens_per_sec: 'fast' is not of type 'number'",
        "",
    ),
    "thread_dies": (
        "import threading\n\ndef test_thread():\n    t = threading.Thread(target=lambda: 1 / 0)\n    t.start()\n    t.join()\n",
        "failed",
        "UnhandledThreadException",
        "",
    ),
    "empty": ("VALUE = 1\n", "harness_error", "no test was collected, so the cell proves nothing", ""),
    "leaks_child": (
        CHILD + "\ndef test_forgets():\n    child(start_new_session=True)\n",
        "leaked",
        r"left running when its tests had ended, and stopped by force: python\S* \(pid \d+\)",
        "",
    ),
    "leaks_daemon": (DAEMON, "leaked", r"stopped by force: python\S* \(pid \d+\)", ""),
    "leaks_port": (
        CHILD + f'\ndef test_serves():\n    child("{LISTEN}", stdout=subprocess.PIPE).stdout.readline()\n',
        "leaked",
        r"\(pid \d+, listening on port \d+\)",
        "",
    ),
    "leaks_file": (
        FILES,
        "leaked",
        r"^left in its temporary directory: forgotten-\w+$",
        "",
    ),
    "balloon": (
        "import time\n\ndef test_grows():\n    held = [bytearray(b'x') * (40 << 20) for _ in range(10)]\n    time.sleep(60)\n",
        "oom_guard",
        r"stopped in .*::test_grows, before the machine ran out of memory: it grew to [\d.]+ MiB, and its need is 200 MiB",
        "memory: 200 MiB",
    ),
    "separate": (
        SEPARATE,
        "crashed",
        "killed by SIGSEGV in tests/separate/test_separate.py::test_two",
        "",
    ),
    "depends_on_order": (ORDERLY, "failed", r"in part \d of 2, shuffled with \d+: .*assert", ""),
    "alike_in_any_order": (ALIKE, "passed", "", ""),
    "flaky": (
        NETWORK + GOOD,
        "flaky",
        "1 of 2 tests passed only when run again: tests/flaky/test_flaky.py::test_network",
        "reruns: 2",
    ),
    "never_again": (
        "TRIED = []\n\ndef test_wrong():\n    TRIED.append(1)\n    assert len(TRIED) == 2\n",
        "failed",
        r"test_wrong: assert 1 == 2",
        "reruns: 2",
    ),
}  # fmt: skip

ROUNDS = int(os.environ.get("QUALIFICATION_FAULT_ROUNDS", "1"))
PROCESSES = {"separate": "separate", "depends_on_order": "shuffled", "alike_in_any_order": "shuffled"}
CONFTESTS = {
    "dropped": "def pytest_collection_modifyitems(items):\n    items[:] = [item for item in items if 'bad' not in item.name]\n"
}
TESTS = {"passes": 1, "hangs_politely": 2, "segfaults": 1, "forks": 1, "separate": 2, "alike_in_any_order": 5, "malformed": 1}


@pytest.fixture(scope="module", params=range(ROUNDS), ids=lambda number: f"round{number + 1}")
def examined(made, tmp_path_factory):
    """The project after its run. Its own options would leave out almost every test, and must not reach a cell."""
    groups = {
        name: made.group(code, PROCESSES.get(name, "wet"), "cpu: true" + (f", {keys}" if keys else ""), CONFTESTS.get(name, ""))
        for name, (code, _, _, keys) in FAULTS.items()
    }
    settings = 'filterwarnings = ["error::pytest.PytestUnhandledThreadExceptionWarning"]'
    project = made.project(tmp_path_factory.mktemp("faults") / "project", groups, settings, "-k good --setup-only --collect-only")
    code, verdict, said = project.examine()
    return project, code, verdict, said


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_for_what_it_is(examined, fault):
    project, _, verdict, _ = examined
    _, wanted, pattern, _ = FAULTS[fault]

    outcome, reason = project.cells(verdict)[fault]

    assert (outcome, bool(re.search(pattern, reason)), bool(reason)) == (wanted, True, wanted != "passed"), reason


@pytest.mark.parametrize("name", TESTS)
def test_each_test_that_ended_is_recorded_once(examined, name):
    _, _, verdict, _ = examined

    assert {cell["cell"].partition("[")[0]: cell["tests"] for cell in verdict["cells"]}[name] == TESTS[name]


def test_nothing_of_them_is_left_running_or_lying_about(examined):
    project, *_ = examined

    assert project.living() == []
    assert project.left_behind() == []


def test_the_release_is_not_qualified_and_every_fault_is_a_reason(examined):
    _, code, verdict, said = examined

    assert (code, verdict["word"]) == (1, "NOT_QUALIFIED")
    told = {reason["sentence"].partition("[")[0] for reason in verdict["reasons"]}
    assert {name for name, (_, outcome, *_) in FAULTS.items() if outcome != "passed"} <= told
    assert said.startswith("NOT_QUALIFIED: matrix matrix, tier 16gb")


@pytest.mark.parametrize("fault", ["hangs_deaf", "balloon"])
def test_the_log_of_what_was_stopped_by_force_is_kept(examined, fault):
    project, *_ = examined
    (log,) = (project.reports / "latest/logs").glob(f"{fault.replace('_', '?')}*")

    text = log.read_text()
    assert f"test_{fault}.py::test_" in text
    assert ("in test_hangs" in text) is (fault == "hangs_deaf")
