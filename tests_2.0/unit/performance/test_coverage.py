"""``pytest --cov`` counts what runs in the processes that tests start."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]

STARTS_THE_TOOL = """\
import subprocess
import sys
from pathlib import Path


def test_the_tool_lists(tmp_path):
    subprocess.run([Path(sys.executable).with_name("mlxk"), "list", "--json"], check=True, timeout=60)
"""


def test_lines_of_a_started_process_are_covered(tmp_path):
    (tmp_path / "test_it.py").write_text(STARTS_THE_TOOL, encoding="utf-8")
    counted = ["--cov", f"--cov-config={ROOT / 'pyproject.toml'}", "--cov-report=json:covered.json"]
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--basetemp={tmp_path}/of-it",
        *counted,
        "test_it.py",
    ]

    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    files = json.loads((tmp_path / "covered.json").read_text(encoding="utf-8"))["files"]
    covered = {Path(name).parts[-2:]: about["executed_lines"] for name, about in files.items()}
    assert covered["commands", "listing.py"]
    assert not covered["commands", "rm.py"]
