"""Small projects that tests make, examined end to end by the harness's own commands."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
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
  16gb: {{ram: 16 GiB, text_budget: 40%, vision_limit: 70%, audio_floor: 4 GiB}}
portfolio: {{source: minted}}
groups:
"""


@dataclass(frozen=True)
class Group:
    """``code`` is its one test module; ``keys`` are further keys of the group in the matrix, as YAML writes them."""

    code: str
    process: str = "wet"
    keys: str = ""
    conftest: str = ""


@dataclass(frozen=True)
class Project:
    """``root`` holds the project; its temporary directory is inside, so that whatever is left can be seen."""

    root: Path

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    @property
    def matrix(self) -> Path:
        return self.root / "matrix.yaml"

    def tests(self, group: str = "first") -> Path:
        return self.root / f"tests/{group}/test_{group}.py"

    def environment(self) -> dict[str, str]:
        return {**os.environ, "TMPDIR": str(self.root / "tmp"), "PROJECT_OF_TEST": str(self.root)}

    def plan(self) -> None:
        assert main(["plan", str(self.matrix), "--project", str(self.root), "--begin", str(self.reports)]) == 0

    def run_command(self) -> list[str]:
        here = ["--environment", ENVIRONMENT, "--python", sys.executable]
        return [sys.executable, "-m", "qualification", "run", "reports/latest", *here]

    def run(self, *options: str) -> None:
        subprocess.run([*self.run_command(), *options], cwd=self.root, env=self.environment(), timeout=110, check=True)

    def verdict(self, bundle: Path | None = None) -> tuple[int, dict[str, Any], str]:
        """Exit code, ``verdict.json`` and what a person reads."""
        bundle = bundle or self.reports / "latest"
        said = io.StringIO()
        with redirect_stdout(said):
            code = main(["verdict", str(bundle)])
        return code, json.loads((bundle / "verdict.json").read_text(encoding="utf-8")), said.getvalue()

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


def make_project(root: Path, groups: Mapping[str, Group], settings: str = "", options: str = "") -> Project:
    """Writes a project; ``settings`` are lines of pytest's own, ``options`` what it adds to every pytest of its own."""
    (root / "tmp").mkdir(parents=True)
    added = ", ".join(f'"{option}"' for option in [*options.split(), "--import-mode=importlib", "-p", "qualification.plugin"])
    (root / "pyproject.toml").write_text(f"[tool.pytest.ini_options]\naddopts = [{added}]\n{settings}\n")
    lines = []
    for name, group in groups.items():
        folder = root / "tests" / name
        folder.mkdir(parents=True)
        (folder / f"test_{name}.py").write_text(textwrap.dedent(group.code))
        if group.conftest:
            (folder / "conftest.py").write_text(textwrap.dedent(group.conftest))
        keys = f", {group.keys}" if group.keys else ""
        lines.append(f"  {name}: {{process: {group.process}, tests: [tests/{name}], over: [python], gate: blocker{keys}}}")
    (root / "matrix.yaml").write_text(MATRIX + "\n".join(lines) + "\nrequire: {pythons: all, tiers: [this]}\n")
    return Project(root)


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Project]:
    """``project("…")`` makes a project whose first group holds that code; a second group, if asked for, always passes."""

    def make(first: str, process: str = "wet", timeout: str = "60 s", second: bool = False, cpu: bool = False) -> Project:
        beside = ", cpu: true" if cpu else ""
        groups = {"first": Group(first, process, f"timeout: {timeout}{beside}")}
        if second:
            groups["second"] = Group("def test_of_the_second_group():\n    assert True\n", keys=beside.removeprefix(", "))
        return make_project(tmp_path / "project", groups)

    return make


@pytest.fixture(scope="session")
def made() -> Any:
    """The makers, for tests that share a project: ``made.project(root, groups)`` and ``made.group(code)``."""

    class Made:
        project = staticmethod(make_project)
        group = Group

    return Made
