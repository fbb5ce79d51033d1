"""What a supervised cell costs above its test: one empty test in a cell beside the same under pytest alone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from figures import Row
from measuring import paired, wall, wall_of
from session import Session

from qualification import bundle, machine, matrix, plan, runner

MATRIX = """\
matrix: 1
about: One test that does nothing.
pythons: ["{version}"]
tiers:
  16gb: {{ram: 16 GiB, text_budget: 40%, vision_limit: 70%, audio_floor: 4 GiB}}
portfolio: {{source: minted}}
groups:
  one: {{process: wet, tests: [tests], over: [python], gate: blocker}}
require: {{pythons: all, tiers: [this]}}
"""


def measure(session: Session) -> Iterator[Row]:
    project = _project(session.scratch / "project")
    alone = [session.python, "-m", "pytest", "-q", "-c", project / "pyproject.toml", "--rootdir", project, project / "tests"]
    ours, theirs = paired(max(5, session.rounds // 3), lambda: wall(_cell(project)), lambda: wall_of(alone))
    yield Row("a cell with one empty test", "s", ours, "the same under pytest", theirs)


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
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    (project / "matrix.yaml").write_text(MATRIX.format(version=version), encoding="utf-8")
    return project


def _cell(project: Path) -> Callable[[], object]:
    """A fresh bundle whose only cell is ready to run."""
    one = matrix.load(project / "matrix.yaml")
    inputs = plan.Inputs(one.sha256, plan.hash_tree(project, ["tests"]), None, None, None)
    planned = plan.expand(one, [], one.tiers[0].name, inputs)
    begun = bundle.begin(project / "reports", plan.freeze(planned), planned.matrix, machine.observe())
    job = runner.Job(bundle=begun, project=project, environment=planned.environments[0], python=Path(sys.executable))
    return lambda: runner.run(job, Silence())
