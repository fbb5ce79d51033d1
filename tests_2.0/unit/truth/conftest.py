"""A small project of its own for each test, examined end to end by the harness's own commands."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from qualification.cli import main

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
ENVIRONMENT = f"py{VERSION.replace('.', '')}-locked"

MATRIX = f"""\
matrix: 1
about: A project that a test made.
pythons: ["{VERSION}"]
tiers:
  16gb: {{ram: 16 GiB, text_budget: 40%%, vision_limit: 70%%, audio_floor: 4 GiB}}
portfolio: {{source: minted}}
groups:
  first: {{process: %s, tests: [tests/test_first.py], over: [python], gate: blocker, timeout: %s}}
%s
require: {{pythons: all, tiers: [this]}}
"""


SECOND = "  second: {process: wet, tests: [tests/test_second.py], over: [python], gate: blocker%s}"


@dataclass(frozen=True)
class Project:
    """``root`` holds the project; its temporary directory is inside, so that whatever is left can be seen."""

    root: Path

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    def environment(self) -> dict[str, str]:
        return {**os.environ, "TMPDIR": str(self.root / "tmp"), "PROJECT_OF_TEST": str(self.root)}

    def plan(self) -> None:
        assert main(["plan", str(self.root / "matrix.yaml"), "--project", str(self.root), "--begin", str(self.reports)]) == 0

    def run_command(self) -> list[str]:
        here = ["--environment", ENVIRONMENT, "--python", sys.executable]
        return [sys.executable, "-m", "qualification", "run", "reports/latest", *here]

    def run(self, *options: str) -> None:
        subprocess.run([*self.run_command(), *options], cwd=self.root, env=self.environment(), timeout=100, check=True)

    def verdict(self) -> tuple[int, dict[str, Any], str]:
        """Exit code, ``verdict.json`` and what a person reads."""
        said = io.StringIO()
        with redirect_stdout(said):
            code = main(["verdict", str(self.reports / "latest")])
        return code, json.loads((self.reports / "latest/verdict.json").read_text(encoding="utf-8")), said.getvalue()

    def examine(self) -> tuple[int, dict[str, Any], str]:
        self.plan()
        self.run()
        return self.verdict()

    def cells(self, verdict: dict[str, Any]) -> dict[str, tuple[str, str]]:
        """Outcome and reason by group."""
        return {cell["cell"].partition("[")[0]: (cell["outcome"], cell["reason"]) for cell in verdict["cells"]}

    def living(self) -> list[psutil.Process]:
        """Processes of this project that still run: those that name its directory on their command line."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.status() != psutil.STATUS_ZOMBIE and any(str(self.root) in part for part in process.cmdline()):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def left_behind(self) -> list[Path]:
        return list((self.root / "tmp").iterdir())


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Project]:
    """``project("…")`` makes a project whose first group holds that code; a second group, if asked for, always passes."""

    def make(first: str, process: str = "wet", timeout: str = "60 s", second: bool = False, cpu: bool = False) -> Project:
        root = tmp_path / "project"
        (root / "tests").mkdir(parents=True)
        (root / "tmp").mkdir()
        (root / "pyproject.toml").write_text(
            '[tool.pytest.ini_options]\naddopts = ["--import-mode=importlib", "-p", "qualification.plugin"]\n'
        )
        beside = ", cpu: true" if cpu else ""
        (root / "matrix.yaml").write_text(MATRIX % (process, timeout + beside, SECOND % beside if second else ""))
        (root / "tests/test_first.py").write_text(textwrap.dedent(first))
        (root / "tests/test_second.py").write_text("def test_of_the_second_group():\n    assert True\n")
        return Project(root)

    return make
