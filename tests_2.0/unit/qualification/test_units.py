"""Sizes, durations and shares: binary multiples by IEC 80000-13, and what a person reads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qualification import units

IEC = {"B": 0, "KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40}


@given(st.integers(0, 8191), st.sampled_from(sorted(IEC)), st.sampled_from(["", " "]))
def test_a_size_is_its_number_shifted_by_its_unit(number: int, unit: str, space: str) -> None:
    assert units.parse_bytes(f"{number}{space}{unit}") == number << IEC[unit]


@given(st.integers(0, 1 << 50))
def test_a_written_size_reads_back_within_its_last_digit(count: int) -> None:
    back = units.parse_bytes(units.format_bytes(count))

    assert abs(back - count) <= 0.05 * count


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (536_870_912, "512 MiB"),
        (6_871_947_674, "6.4 GiB"),
        (64 << 30, "64 GiB"),
        (float("inf"), "inf TiB"),
    ],
)
def test_a_size_is_written_in_the_largest_unit_that_it_fills(count: float, text: str) -> None:
    assert units.format_bytes(count) == text


@pytest.mark.parametrize(
    "text", ["16 GB", "16", "GiB", "-1 GiB", "1e3 GiB", "16  GiB", "16 gib", "16 GiB ", "16 GiB\n", "١٦ GiB", ""]
)
def test_anything_but_a_number_and_a_binary_unit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number followed by one of B, KiB, MiB, GiB, TiB"):
        units.parse_bytes(text)


@pytest.mark.parametrize(("text", "seconds"), [("90 s", 90), ("10 min", 600), ("1.5h", 5400), ("0.5 s", 0.5)])
def test_a_duration_is_read_into_seconds(text: str, seconds: float) -> None:
    assert units.parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["10 minutes", "10", "1 d", "1 min 5 s", "10 min\n"])
def test_anything_but_a_number_and_a_unit_of_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number followed by one of s, min, h"):
        units.parse_seconds(text)


@pytest.mark.parametrize(("text", "share"), [("0%", 0), ("40%", 0.4), ("12.5 %", 0.125), ("100%", 1)])
def test_a_share_is_read_into_a_fraction(text: str, share: float) -> None:
    assert units.parse_share(text) == share


@pytest.mark.parametrize("text", ["100.5%", "140%", "0.4", "-1%", "40 per cent", "40%\n"])
def test_what_is_no_share_of_a_whole_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a share such as 40%"):
        units.parse_share(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (1.44, "1.4 s"),
        (59.94, "59.9 s"),
        (59.97, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 00 min"),
        (4200, "1 h 10 min"),
    ],
)
def test_a_duration_is_written_for_a_glance(seconds: float, text: str) -> None:
    assert units.format_seconds(seconds) == text


@given(st.floats(0, 1e6))
def test_no_written_duration_counts_sixty_of_a_unit(seconds: float) -> None:
    assert "60" not in units.format_seconds(seconds).partition(" h")[2]
    assert not units.format_seconds(seconds).startswith(("60.0 s", "60 min"))
