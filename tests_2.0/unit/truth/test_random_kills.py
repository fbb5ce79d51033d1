"""Kill the runner at any moment, as often as you like: what had finished is neither lost nor run twice, and the end is the same.

``QUALIFICATION_KILL_POINTS=100 pytest tests_2.0/unit/truth/test_random_kills.py`` does it a hundred times.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import time

import psutil
import pytest

KILL_POINTS = int(os.environ.get("QUALIFICATION_KILL_POINTS", "3"))
LONGEST_S = 2.5
"""About as long as two cells take, so that a kill falls before, into and between them."""

LEDGER = """
import pathlib
import pytest

@pytest.mark.parametrize("number", range(4))
def test_leaves_a_trace(number, request):
    with open(pathlib.Path(__file__).parents[2] / "ledger", "a") as ledger:
        ledger.write(request.node.nodeid + "\\n")
"""


@pytest.mark.timeout(60 + 20 * KILL_POINTS)
def test_what_had_finished_is_neither_lost_nor_run_twice(made, tmp_path):
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    project = made.project(tmp_path / "project", {name: made.group(LEDGER) for name in ("one", "two", "three")})
    kills = 0
    while kills < KILL_POINTS:
        project.plan()
        done: set[str] = set()
        records = b""
        while len(done) < 3 and kills < KILL_POINTS:
            _run_and_kill(project, chance)
            kills += 1
            ended, written = _finished(project), _records(project)
            assert written.startswith(records), f"seed {seed}: records were lost or changed"
            assert done <= ended.keys(), f"seed {seed}: a finished cell is not finished any more"
            done, records = set(ended), written
        project.run("--resume")
        code, verdict, _ = project.verdict()

        assert (code, verdict["word"]) == (0, "QUALIFIED"), f"seed {seed}: {verdict['reasons']}"
        assert set(_finished(project).values()) == {1}, f"seed {seed}: a cell finished twice"
        assert _runs_after_the_end(project) == [], f"seed {seed}: a finished cell was begun again"
        assert project.left_behind() == [], f"seed {seed}"


def _run_and_kill(project, chance):
    """The runner, or the runner and its supervisor at once, after a time that nobody can know."""
    command = [*project.run_command(), "--resume"]
    started = subprocess.Popen(command, cwd=project.root, env=project.environment(), stdout=subprocess.DEVNULL)
    both = chance.random() < 0.3
    deadline = time.monotonic() + chance.uniform(0, LONGEST_S)
    while time.monotonic() < deadline and started.poll() is None:
        time.sleep(0.005)
    guardians = psutil.Process(started.pid).children() if both and started.poll() is None else []
    for victim in (*guardians, started):
        try:
            victim.kill()
        except (psutil.NoSuchProcess, ProcessLookupError):
            continue
    started.wait(timeout=20)
    deadline = time.monotonic() + 30
    while (living := project.living()) or (project.left_behind() and not guardians):
        assert time.monotonic() < deadline, f"still there after the kill: {living} {project.left_behind()}"
        time.sleep(0.02)
    for left in project.left_behind():
        subprocess.run(["rm", "-rf", str(left)], check=True, timeout=20)


def _events(project):
    lines = (project.reports / "latest/journal.jsonl").read_bytes().split(b"\n")[:-1]
    return [json.loads(line) for line in lines]


def _finished(project):
    """How often each cell finished."""
    cells = [event["cell"] for event in _events(project) if event["event"] == "cell_finished"]
    return {cell: cells.count(cell) for cell in cells}


def _runs_after_the_end(project):
    ended, again = set(), []
    for event in _events(project):
        if event["event"] == "cell_finished":
            ended.add(event["cell"])
        elif event.get("cell") in ended:
            again.append(event["cell"])
    return again


def _records(project):
    """All complete records."""
    path = project.reports / "latest/tests.jsonl"
    content = path.read_bytes() if path.exists() else b""
    return content[: content.rfind(b"\n") + 1]
