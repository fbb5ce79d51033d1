"""The one tier that a machine is in."""

from __future__ import annotations

from typing import Any

import pytest

from qualification import machine

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
