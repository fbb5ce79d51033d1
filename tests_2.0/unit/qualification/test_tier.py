"""The one tier that a machine is in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qualification import machine
from qualification.cli import main

GIB = 1 << 30


@pytest.mark.parametrize(
    ("ram_gib", "tier"),
    [
        (8, "16gb"),  # reaches none: the smallest
        (15.5, "16gb"),  # sold as 16, and the firmware keeps half
        (24, "16gb"),
        (28.7, "16gb"),  # less than nine tenths of 32
        (28.81, "32gb"),
        (36, "32gb"),
        (62.5, "64gb"),
        (94, "96gb"),
        (512, "96gb"),
    ],
)
def test_a_machine_is_in_the_largest_tier_that_it_reaches(build: Any, ram_gib: float, tier: str) -> None:
    assert machine.tier_of(round(ram_gib * GIB), build.tiers).name == tier


def test_the_order_of_the_tiers_does_not_matter(build: Any) -> None:
    assert machine.tier_of(40 * GIB, build.tiers[::-1]).name == "32gb"


def test_what_is_observed_of_this_machine_fits_together() -> None:
    here = machine.observe()

    assert 0 < here.available_bytes <= here.ram_bytes
    assert here.cores >= 1


MATRIX = """\
matrix: 1
about: Two tiers.
pythons: ["3.12"]
tiers:
  16gb: {ram: 1 GiB, text_budget: 40%, vision_limit: 70%, audio_floor: 4 GiB}
  64gb: {ram: 64000 GiB, text_budget: 60%, vision_limit: 70%, audio_floor: 4 GiB}
portfolio: {source: minted}
groups:
  one: {process: wet, tests: [m.yaml], gate: blocker}
require: {pythons: all, tiers: [this]}
"""


def test_no_run_is_begun_for_a_tier_that_the_machine_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.yaml").write_text(MATRIX, encoding="utf-8")
    begin = ["plan", str(tmp_path / "m.yaml"), "--project", str(tmp_path), "--begin", str(tmp_path / "reports")]

    assert main([*begin, "--tier", "64gb"]) == 2
    assert "--tier 64gb with --begin: this machine is of tier 16gb" in capsys.readouterr().err
    assert not (tmp_path / "reports").exists()
    assert main([*begin, "--tier", "16gb"]) == 0
