"""The sessions of nox around a plan: which of them have something to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from qualification import plan

CHECKOUT = Path(__file__).parents[3]
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
MATRIX = f"""\
matrix: 1
about: Two environments, and cells in one of them.
pythons: ["{VERSION}"]
dependencies: [locked, latest]
tiers:
  16gb: {{ram: 16 GiB, text_budget: 40%, vision_limit: 70%, audio_floor: 4 GiB}}
portfolio: {{source: minted}}
groups:
  one: {{process: wet, tests: [tests], gate: blocker}}
require: {{pythons: all, tiers: [this]}}
"""


def test_an_environment_without_a_cell_in_the_plan_is_left_alone(build: Any, tmp_path: Path) -> None:
    for name in ("noxfile.py", "qualification"):
        (tmp_path / name).symlink_to(CHECKOUT / name)
    (tmp_path / "matrices").mkdir()
    (tmp_path / "matrices/release.yaml").write_text(MATRIX, encoding="utf-8")
    (tmp_path / "reports/latest").mkdir(parents=True)
    planned = build.plan(build.cell("one[locked]", python=VERSION))
    (tmp_path / "reports/latest/plan.json").write_bytes(plan.freeze(planned))

    def qualify(dependencies: str) -> tuple[int, str]:
        session = f"qualify({plan.environment_id(VERSION, dependencies)})"
        nox = [sys.executable, "-m", "nox", "--no-venv", "--session", session, "-f", "noxfile.py"]
        done = subprocess.run(nox, cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=60, check=False)
        return done.returncode, done.stderr

    code, said = qualify("latest")
    assert (code, "no cell of this plan is in" in said) == (0, True), said
    assert "the wheel of this run is gone" in qualify("locked")[1]
    (tmp_path / "reports/latest/plan.json").unlink()
    assert "there is no plan to run" in qualify("locked")[1]
