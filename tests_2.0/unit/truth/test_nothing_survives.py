"""Whatever is killed, stopped, hidden or damaged, nothing of a cell survives it, and the runner goes on with the next."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest

from qualification import attempt, forkserver, processes, records, supervise
from qualification.attempt import Order
from qualification.errors import EnvironmentUnfitError
from qualification.plan import Cell
from qualification.portfolio import Model
from qualification.processes import TOKEN
from qualification.supervise import AbandonedError, Spec

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process adopt those that left their parents")

SLEEPER = """
import os, subprocess, sys, time
sleeper = [sys.executable, "-S", "-c", "import time; time.sleep(600)", sys.argv[1]]
print("in", sys.argv[1], flush=True)
"""

CHILD_OF_ITS_OWN_SESSION = SLEEPER + "subprocess.Popen(sleeper, start_new_session=True)\n"

DAEMON_WITHOUT_ENVIRONMENT = (
    SLEEPER
    + """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execve(sleeper[0], sleeper, {})
    os._exit(0)
os.wait()
"""
)

HOLD_THE_GIL = "open(sys.argv[1] + '/under_way', 'w').close()\nimport itertools\nsum(itertools.repeat(0))\n"

OBEY = "from qualification.plugin.context import obey_supervisor\nobey_supervisor()\n"

WATCH_AS_ON_MACOS = (
    CHILD_OF_ITS_OWN_SESSION
    + """
import threading
from qualification.plugin import context
threading.Thread(target=context._end_when_orphaned, args=(os.getppid(),), daemon=True).start()
open(sys.argv[1] + "/under_way", "w").close()
time.sleep(600)
"""
)

RUNNER = """
import json, sys
from pathlib import Path
from qualification import supervise
content = json.loads(Path(sys.argv[1]).read_text())
spec = supervise.Spec(**{**content, "argv": tuple(content["argv"])})
print(supervise.run(spec, Path(spec.scratch, "spec.json"), lambda: False).how)
"""


KILLS_ITSELF = """
import json, os, signal, sys
from pathlib import Path
from qualification import forkserver, supervise

content = json.loads(Path(sys.argv[1]).read_text())
spec = supervise.Spec(**{**content, "argv": tuple(content["argv"])})
if sys.argv[2] == "before its supervisor begins":
    forkserver._say = lambda life, word: os.kill(os.getpid(), signal.SIGKILL)
with supervise.supervisors(spec.cell) as forks:
    supervise.run(spec, Path(spec.scratch, "spec.json"), lambda: False, forks)
    os.kill(os.getpid(), signal.SIGKILL)
"""


IMPATIENT = """
import sys
from qualification import forkserver, supervise
code = '''
import sys
from qualification import forkserver, supervise
supervise.PATIENCE_S = 0.5
sys.exit(forkserver.serve(supervise.guard, supervise.forsake, 5.0))
'''
supervise.supervisors = lambda name: forkserver.ForkServer([sys.executable, "-c", code, name])
"""
"""Before ``RUNNER``: with supervisors that are waited for only half a second."""


@pytest.fixture
def spec(tmp_path):
    """``spec("…")`` supervises Python code that gets the test's directory as its argument."""

    def make(code: str, timeout_s: float = 60.0) -> Spec:
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        return Spec(
            cell="first[py]",
            argv=(sys.executable, "-c", code, str(tmp_path)),
            cwd=str(scratch),
            environment={"PYTHONPATH": os.pathsep.join(sys.path), TOKEN: tmp_path.as_posix()},
            log=str(tmp_path / "log"),
            memory_log=str(tmp_path / "memory.jsonl"),
            result=str(scratch / "result.json"),
            scratch=str(scratch),
            names={str(tmp_path): "<project>", str(scratch): "<scratch>"},
            timeout_s=timeout_s,
        )

    return make


def run(spec: Spec) -> supervise.Result:
    return supervise.run(spec, Path(spec.scratch, "spec.json"), lambda: False)


@pytest.mark.parametrize(
    ("killed", "code"),
    [
        (("runner", "supervisor"), CHILD_OF_ITS_OWN_SESSION + HOLD_THE_GIL),
        (("runner", "guardian"), CHILD_OF_ITS_OWN_SESSION + HOLD_THE_GIL),
        pytest.param(("guardian", "supervisor", "runner"), SLEEPER + OBEY + HOLD_THE_GIL, marks=linux),
        (("guardian", "supervisor", "runner"), WATCH_AS_ON_MACOS),
    ],
)
def test_kill_9_leaves_no_child_of_another_session_and_no_test_that_holds_the_gil(spec, tmp_path, killed, code):
    given = spec(code)
    (tmp_path / "given.json").write_text(json.dumps(asdict(given)))
    started = subprocess.Popen([sys.executable, "-c", RUNNER, str(tmp_path / "given.json")])
    _until((tmp_path / "under_way").exists)
    runner = psutil.Process(started.pid)
    (forks,) = runner.children()
    (guardian,) = forks.children()
    (supervisor,) = guardian.children()
    victims = [{"runner": runner, "guardian": guardian, "supervisor": supervisor}[name] for name in killed]
    for victim in victims:
        victim.suspend()  # or one could begin to clean up when another is killed, and be killed in the midst of it
    for victim in victims:
        victim.kill()
    started.wait()

    _until(lambda: not _living(tmp_path))
    if len(killed) == 2:
        _until(lambda: not Path(given.scratch).exists())
        assert str(tmp_path) not in (tmp_path / "log").read_text()


def test_the_oldest_is_stopped_last_because_it_stops_the_others_where_nobody_else_does(tmp_path, monkeypatch):
    token, stopped, terminate = tmp_path.as_posix(), [], psutil.Process.terminate
    sleeper = [sys.executable, "-S", "-c", "import time; time.sleep(600)", token]
    started = []
    for _ in range(3):
        started.append(subprocess.Popen(sleeper, env={TOKEN: token}))
        time.sleep(0.02)  # the kernel tells ages in hundredths of a second
    monkeypatch.setattr(psutil.Process, "terminate", lambda process: stopped.append(process.pid) or terminate(process))
    processes.sweep(token)

    assert stopped == [process.pid for process in reversed(started)]
    assert [process.wait(30) for process in started] == [-signal.SIGTERM] * 3


@pytest.mark.parametrize("victim", ["os.getppid()", "psutil.Process(os.getppid()).ppid()"], ids=["supervisor", "guardian"])
def test_a_supervisor_that_its_own_cell_kills_is_orphaned_and_leaves_nothing(spec, tmp_path, victim):
    kill = f"import psutil\nos.kill({victim}, 9)\ntime.sleep(600)\n"

    assert run(spec(CHILD_OF_ITS_OWN_SESSION + kill)).how == "orphaned"
    assert _living(tmp_path) == []


def test_a_supervisor_that_its_own_cell_stops_is_not_waited_for_without_end(spec, tmp_path, monkeypatch):
    monkeypatch.setattr(supervise, "PATIENCE_S", 0.5)
    stop = "import signal\nos.kill(os.getppid(), signal.SIGSTOP)\ntime.sleep(600)\n"

    assert run(spec(CHILD_OF_ITS_OWN_SESSION + stop, timeout_s=3.0)).how == "orphaned"
    assert _living(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_what_forks_supervisors_may_be_killed_or_stopped_and_the_last_of_it_ends_with_the_run(
    spec, tmp_path, number, monkeypatch
):
    monkeypatch.setattr(forkserver, "_START_S", 2.0)
    with supervise.supervisors(str(tmp_path)) as forks:
        (first,) = _living(tmp_path)
        first.send_signal(number)
        given = spec("import time; time.sleep(1)")
        result = supervise.run(given, Path(given.scratch, "spec.json"), lambda: False, forks)

        assert (result.how, result.returncode) == ("exited", 0)
        _until(lambda: [process.pid != first.pid for process in _living(tmp_path)] == [True])

    assert _living(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_cell_that_kills_or_stops_what_forked_its_supervisor_is_supervised_all_the_same(spec, tmp_path, number):
    harm = f"import psutil\nos.kill(psutil.Process(os.getppid()).parents()[1].pid, {int(number)})\ntime.sleep(600)\n"

    assert run(spec(CHILD_OF_ITS_OWN_SESSION + harm, timeout_s=2.0)).how == "timeout"
    _until(lambda: _living(tmp_path) == [])  # the guardian may say that it ends, and do so


def test_a_task_whose_answer_was_lost_is_not_done_twice(tmp_path, monkeypatch):
    """The server forks, and is stopped before it can say so: its client takes another one, and the first child does nothing."""
    monkeypatch.setattr(forkserver, "_ANSWER_S", 0.5)
    done = tmp_path / "done"
    first = tmp_path / "first"
    code = f"""
import os, pathlib, signal, sys
from qualification import forkserver

def work(task):
    with open(task, "a") as file:
        print(os.getpid(), file=file)
    return 0

def fork():
    child = os_fork()
    if child and not os.path.exists({str(first)!r}):
        pathlib.Path({str(first)!r}).touch()
        os.kill(os.getpid(), signal.SIGSTOP)
    return child

os_fork, os.fork = os.fork, fork
sys.exit(forkserver.serve(work, print, 5.0))
"""
    with forkserver.ForkServer([sys.executable, "-c", code, str(tmp_path)]) as forks, forks.fork(str(done)) as child:
        assert child.wait(10)

    assert first.exists()
    assert done.read_text().split() == [str(child.pid)]
    assert _living(tmp_path) == []


def test_a_supervisor_that_is_stopped_does_not_outlive_its_runner(spec, tmp_path):
    given = spec(CHILD_OF_ITS_OWN_SESSION + HOLD_THE_GIL)
    (tmp_path / "given.json").write_text(json.dumps(asdict(given)))
    started = subprocess.Popen([sys.executable, "-c", IMPATIENT + RUNNER, str(tmp_path / "given.json")])
    _until((tmp_path / "under_way").exists)
    (forks,) = psutil.Process(started.pid).children()
    (guardian,) = forks.children()
    (supervisor,) = guardian.children()
    supervisor.suspend()
    started.kill()
    started.wait()

    _until(lambda: not _living(tmp_path))


@pytest.mark.parametrize(("moment", "ran"), [("before its supervisor begins", False), ("after it has ended", True)])
def test_a_runner_that_is_killed_while_no_supervisor_works_leaves_no_scratch(spec, tmp_path, moment, ran):
    given = spec("pass")
    (tmp_path / "given.json").write_text(json.dumps(asdict(given)))
    killed = subprocess.run([sys.executable, "-c", KILLS_ITSELF, str(tmp_path / "given.json"), moment], check=False, timeout=60)

    assert killed.returncode == -signal.SIGKILL
    _until(lambda: not Path(given.scratch).exists())
    assert Path(given.log).exists() == ran


def test_a_runner_that_ends_as_it_should_is_left_its_scratch(spec):
    given = spec("pass")
    with supervise.supervisors(given.cell) as forks:
        supervise.run(given, Path(given.scratch, "spec.json"), lambda: False, forks)
        server = forks._running[0]

    assert server.returncode == 0
    assert Path(given.result).exists()


@linux
def test_a_daemon_without_parents_and_environment_is_found(spec, tmp_path):
    result = run(spec(DAEMON_WITHOUT_ENVIRONMENT))

    assert (result.how, result.returncode, len(result.survivors)) == ("exited", 0, 1)
    assert _living(tmp_path) == []


@linux
def test_a_daemon_that_ends_is_collected_as_init_would(spec):
    code = """
import os, time
read, write = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        os.write(write, str(os.getpid()).encode())
    os._exit(0)
os.wait()
daemon = int(os.read(read, 20))
for _ in range(200):
    time.sleep(0.05)
    try:
        os.kill(daemon, 0)
    except ProcessLookupError:
        raise SystemExit(0)
raise SystemExit(1)
"""

    assert run(spec(code)).returncode == 0


def test_an_interpreter_that_cannot_be_started_is_a_harness_error_that_says_so(project):
    examined = project("def test_it():\n    pass\n")
    examined.plan()
    examined.run("--python", "/nonexistent/python")

    _, verdict, _ = examined.verdict()

    sentence = "/nonexistent/python cannot be started: No such file or directory"
    assert examined.cells(verdict)["first"] == ("harness_error", sentence)


@pytest.fixture
def order(tmp_path):
    """An order whose interpreter does nothing for ten minutes; the temporary directory is the test's."""
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nexec {sys.executable} -S -c 'import time; time.sleep(600)' {tmp_path}\n")
    python.chmod(0o755)
    model = Model("minted/tiny", "text", "llama", 1000, "minted", None)
    cell = Cell("first[py]", "first", "wet", "blocker", (), None, 60.0, "3.12", "locked", None, model)
    return Order(
        cell=cell,
        number=1,
        run="a-run",
        project=tmp_path,
        python=python,
        tests=tmp_path / "tests.jsonl",
        memory=tmp_path / "memory.jsonl",
        log=tmp_path / "log",
        abandoned=lambda: False,
    )


def test_a_process_that_cannot_be_had_does_not_undo_what_was_recorded_before_it(order, tmp_path, monkeypatch):
    cell = replace(order.cell, process="separate", model=None)
    record = {
        "test": "a.py::test_a",
        "outcome": "passed",
        "run": "a-run",
        "cell": cell.id,
        "attempt": 1,
        "test_start_ts": 1.0,
        "test_end_ts": 1.1,
    }
    timed = {
        "timestamp": "2026-01-01T00:00:00.000Z",
        "mlx_knife_version": "1.0.0",
        "duration": 0.1,
        "test_start_ts": 1.0,
        "test_end_ts": 1.1,
    }
    calls = iter(["collect", "first"])

    def supervised(spec, *_):
        match next(calls, "none left"):
            case "collect":
                Path(spec.progress).write_text(json.dumps({"collected": ["a.py::test_a", "a.py::test_b"]}) + "\n")
            case "first":
                records.append(order.tests, records.compose({**record, **timed}, ()))
            case _:
                raise EnvironmentUnfitError("no process could be forked")
        return supervise.Result(0, "exited")

    monkeypatch.setattr(supervise, "run", supervised)
    made = attempt.make(replace(order, cell=cell))

    assert (made.judged.outcome, made.judged.reason) == ("harness_error", "no process could be forked")
    assert b"".join(made.tests) == order.tests.read_bytes() != b""


def test_minting_has_a_time_of_its_own(order, tmp_path, monkeypatch):
    monkeypatch.setattr(attempt, "_MINT_TIMEOUT_S", 0.2)

    judged = attempt.make(order).judged

    assert (judged.outcome, judged.reason) == ("harness_error", "minted/tiny was not minted within 0.2 s; see log")
    assert _living(tmp_path) == []


def test_minting_ends_with_its_run(order, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    with pytest.raises(AbandonedError):
        attempt.make(replace(order, abandoned=lambda: bool(_living(tmp_path))))

    assert _living(tmp_path) == []
    assert list(tmp_path.glob("mlxk2_test_*")) == []


DAMAGES = {
    "garbage among the records": (
        "open(options[options.index('--report-output') + 1], 'a').write('garbage\\n')",
        ("harness_error", "not a JSON line"),
    ),
    "garbage in the progress": ("open(progress, 'a').write('garbage\\n')", ("harness_error", "something else than the harness")),
    "half a line of progress": ("open(progress, 'a').write('{\"coll')\n    os._exit(1)", ("crashed", "test_damages")),
    "no scratch any more": (
        "shutil.rmtree(pathlib.Path(progress).parent)",
        ("harness_error", "before it had collected its tests"),
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_a_test_damages_is_told_of_its_cell_and_the_next_cell_still_runs(project, damage):
    code, (outcome, reason) = DAMAGES[damage]
    examined = project(
        f"""
import json, os, pathlib, shutil, sys

def test_damages():
    options = sys.argv
    progress = json.load(open(options[options.index("--cell") + 1]))["progress"]
    {code}
""",
        second=damage == "garbage among the records",
    )
    mode = (examined.root / "tmp").stat().st_mode

    examined.examine()

    journal = (examined.reports / "latest/journal.jsonl").read_text(encoding="utf-8").splitlines()
    first, *second = (event for event in map(json.loads, journal) if event["event"] == "cell_finished")
    assert first["outcome"] == outcome
    assert {event["outcome"] for event in second} <= {"passed"}
    assert reason in first["reason"]
    assert examined.left_behind() == []
    assert (examined.root / "tmp").stat().st_mode == mode


def test_ids_that_look_like_addresses_or_homes_have_a_process_of_their_own(project):
    examined = project(
        "import pytest\n\n@pytest.mark.parametrize('url', ['http://x', '/home/ann/x'])\ndef test_url(url):\n    pass\n",
        process="separate",
    )

    assert examined.examine()[1]["word"] == "QUALIFIED"


def test_a_module_that_skips_itself_is_owed_where_the_tests_beside_it_have_processes_of_their_own(project):
    examined = project("def test_it():\n    pass\n", process="separate")
    examined.tests().with_name("test_other.py").write_text("import pytest\npytest.skip('no hub', allow_module_level=True)\n")

    code, verdict, _ = examined.examine()

    (cell,) = verdict["cells"]
    assert (code, cell["outcome"], cell["tests"]) == (5, "debt", 2)
    assert "no hub" in cell["reason"]


def test_what_a_collection_leaves_behind_is_told_of_its_cell(project):
    code = "import sys, tempfile\nif '--collect-only' in sys.argv:\n    tempfile.mkstemp('_left')\n\ndef test_it():\n    pass\n"
    examined = project(code, process="separate")

    (cell,) = examined.examine()[1]["cells"]

    assert cell["outcome"] == "leaked"
    assert "_left" in cell["reason"]


def test_one_test_alone_is_enough_for_a_shuffled_cell(project):
    examined = project("def test_it():\n    pass\n", process="shuffled")

    assert examined.examine()[1]["word"] == "QUALIFIED"


def test_a_scratch_is_removed_whatever_its_modes_and_nothing_beyond_it_is_touched(tmp_path):
    outside = tmp_path / "outside"
    closed = tmp_path / "scratch" / "a" / "closed"
    closed.mkdir(parents=True)
    outside.mkdir(mode=0o500)
    (closed / "file").touch()
    (tmp_path / "scratch" / "link").symlink_to(outside)
    for directory in (closed, closed.parent, closed.parent.parent):
        directory.chmod(0o000)
    modes = [path.stat().st_mode for path in (tmp_path, outside)]

    supervise.discard(tmp_path / "scratch")
    supervise.discard(tmp_path / "scratch")

    assert not (tmp_path / "scratch").exists()
    assert [path.stat().st_mode for path in (tmp_path, outside)] == modes


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("/home/al/work/a.py:3", "<project>/a.py:3"),
        ('File "/home/al/x.py", line 1', 'File "~/x.py", line 1'),
        ("/home/alice/x", "/home/alice/x"),
        ("HOME=/home/al.", "HOME=~."),
    ],
)
def test_paths_of_this_machine_have_names_in_what_is_kept(said, kept):
    assert supervise.anonymous(said, {"/home/al": "~", "/home/al/work": "<project>"}) == kept


def _living(root: Path) -> list[psutil.Process]:
    """Processes that name ``root`` on their command line; not this one, which may have been told it."""
    found = []
    for process in psutil.process_iter():
        try:
            named = any(str(root) in part for part in process.cmdline())
            if named and process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid():
                found.append(process)
        except psutil.Error:
            continue
    return found


def _until(holds, patience_s=30.0):
    """Waits for something another process does; fails when it does not come about."""
    deadline = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
