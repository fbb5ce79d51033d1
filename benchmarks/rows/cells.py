"""What watching over a cell costs: above its test, and while it runs."""

from __future__ import annotations

import os
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from figures import Row, at_most
from measuring import cpu_of, paired, wall, wall_of
from session import Session

from qualification import bundle, inputs, machine, matrix, plan, processes, runner, supervise
from qualification.declared import Matrix

WATCHED_S = 8
CELLS = 6
THREE = """
import subprocess, sys, time
held = b"x" * (200 << 20)
child = "held = b'x' * (50 << 20); import time; time.sleep(%s)" % sys.argv[1]
children = [subprocess.Popen([sys.executable, "-S", "-c", child]) for _ in range(2)]
for each in children:
    each.wait()
"""

MATRIX = """\
matrix: 1
about: One test that does nothing, in several cells.
pythons: ["{version}"]
tiers:
  16gb: {{ram: 16 GiB, text_budget: 40%, vision_limit: 70%, audio_floor: 4 GiB}}
portfolio: {{source: minted}}
groups:
{groups}
require: {{pythons: all, tiers: [this]}}
"""


def measure(session: Session) -> Iterator[Row]:
    project = _project(session.scratch / "project")
    alone = [session.python, "-m", "pytest", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", project, project / "tests"]
    quiet = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    each = paired(max(5, session.rounds // 3), lambda: wall(_run(project)) / CELLS, lambda: wall_of(alone, **quiet))
    yield Row(
        f"a cell with one empty test, of {CELLS}",
        "s",
        each[0],
        "the same under bare pytest",
        each[1],
        at_most(0.05, of="difference"),
    )
    watched, unwatched = paired(3, lambda: _per_second(session, _watched), lambda: _per_second(session, cpu_of))
    yield Row(
        "watching three processes for a second (CPU)", "s", watched, "nobody watches", unwatched, at_most(0.015, of="difference")
    )


def _per_second(session: Session, cpu: Callable[[list[str]], float]) -> float:
    """Processor seconds for each second that it runs on, its start and its end left out."""
    short, long = (cpu([str(session.python), "-c", THREE, str(seconds)]) for seconds in (1, 1 + WATCHED_S))
    return (long - short) / WATCHED_S


def _watched(argv: list[str]) -> float:
    """Processor seconds of a command under supervision, the supervisor's own among them."""
    with tempfile.TemporaryDirectory() as scratch:
        paths = {name: str(Path(scratch, name)) for name in ("log", "memory_log", "result")}
        spec = supervise.Spec(
            cell="three", argv=tuple(argv), cwd=scratch, environment={processes.TOKEN: scratch}, scratch=scratch, names={},
            timeout_s=60.0, need_bytes=1 << 40, **paths,
        )  # fmt: skip
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        supervise.run(spec, Path(scratch, "spec.json"), lambda: False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


class Silence:
    """Nobody watches."""

    def planned(self, cells: Sequence[plan.Cell]) -> None: ...

    def began(self, cell: plan.Cell) -> None: ...

    def ended(self, cell: plan.Cell, word: str, sentence: str) -> None: ...


def _project(project: Path) -> Path:
    (project / "tests").mkdir(parents=True)
    (project / "tests/test_one.py").write_text("def test_one():\n    pass\n", encoding="utf-8")
    settings = '[tool.pytest.ini_options]\naddopts = ["--import-mode=importlib", "-p", "qualification.plugin"]\n'
    (project / "pyproject.toml").write_text(settings, encoding="utf-8")
    one = "  group{}: {{process: wet, tests: [tests], over: [python], gate: blocker}}"
    groups = "\n".join(map(one.format, range(CELLS)))
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    (project / "matrix.yaml").write_text(MATRIX.format(version=version, groups=groups), encoding="utf-8")
    return project


def _run(project: Path) -> Callable[[], object]:
    """A run of all cells of a fresh bundle, one after another."""
    one = matrix.load(project / "matrix.yaml")
    planned = plan.expand(one, [], one.tiers[0].name, _inputs(project, one))
    begun = bundle.begin(project / "reports", plan.freeze(planned), planned.matrix, machine.observe())
    job = runner.Job(
        bundle=begun, project=project, environment=planned.environments[0], python=Path(sys.executable),
        changed=lambda: inputs.changed(planned.inputs, _inputs(project, one)),
    )  # fmt: skip
    return lambda: runner.run(job, Silence())


def _inputs(project: Path, one: Matrix) -> plan.Inputs:
    return inputs.read(project, ["tests"], one.sha256, None, None)
