"""A small project of its own for each test, examined end to end by the harness's own commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

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
  second: {{process: wet, tests: [tests/test_second.py], over: [python], gate: blocker}}
require: {{pythons: all, tiers: [this]}}
"""


@dataclass(frozen=True)
class Project:
    """``root`` holds the project; its temporary directory is inside, so that whatever is left can be seen."""

    root: Path

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "qualification", *arguments]

    def environment(self) -> dict[str, str]:
        return {**os.environ, "TMPDIR": str(self.root / "tmp"), "PROJECT_OF_TEST": str(self.root)}

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            cwd=self.root,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    def plan(self) -> None:
        done = self.call("plan", "matrix.yaml", "--begin", "reports")
        assert done.returncode == 0, done.stderr

    def run_command(self) -> list[str]:
        return self.command("run", "reports/latest", "--environment", ENVIRONMENT, "--python", sys.executable)

    def run(self) -> None:
        done = self.call(*self.run_command()[3:])
        assert done.returncode == 0, done.stderr

    def verdict(self) -> tuple[int, dict[str, Any], str]:
        """Exit code, ``verdict.json`` and what a person reads."""
        done = self.call("verdict", "reports/latest")
        return done.returncode, json.loads((self.root / "reports/latest/verdict.json").read_text()), done.stdout

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
    """``project(first="…")`` makes a project whose first test module holds that code; the second always passes."""

    def make(first: str, process: str = "wet", timeout: str = "60 s") -> Project:
        root = tmp_path / "project"
        (root / "tests").mkdir(parents=True)
        (root / "tmp").mkdir()
        (root / "pyproject.toml").write_text(
            '[tool.pytest.ini_options]\naddopts = ["--import-mode=importlib", "-p", "qualification.plugin"]\n'
        )
        (root / "matrix.yaml").write_text(MATRIX % (process, timeout))
        (root / "tests/test_first.py").write_text(textwrap.dedent(first))
        (root / "tests/test_second.py").write_text("def test_of_the_second_group():\n    assert True\n")
        return Project(root)

    return make
