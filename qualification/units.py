"""Sizes, durations and shares as people write them in a matrix, read into bytes, seconds and fractions."""

from __future__ import annotations

import re

_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]+)")


def parse_bytes(text: str) -> int:
    """``"16 GiB"`` is 17,179,869,184. Raises ValueError for anything but a number and a binary unit."""
    number, unit = _split(text, _BYTES)
    return int(number * _BYTES[unit])


def parse_seconds(text: str) -> float:
    """``"10 min"`` is 600.0. Raises ValueError for anything but a number and one of s, min, h."""
    number, unit = _split(text, _SECONDS)
    return number * _SECONDS[unit]


def parse_share(text: str) -> float:
    """``"40%"`` is 0.4. Raises ValueError outside 0 to 100 per cent."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?%", text)
    if not match or float(match[1]) > 100:
        raise ValueError(f"{text!r} is not a share such as 40%")
    return float(match[1]) / 100


def format_bytes(count: float) -> str:
    """Binary unit, one decimal below 100: 536870912 is ``512 MiB``, 6871947674 is ``6.4 GiB``, 1 is ``1 B``."""
    for unit in reversed(_BYTES):
        if count >= _BYTES[unit] or unit == "B":
            value = count / _BYTES[unit]
            return f"{value:.0f} {unit}" if value >= 100 or value == int(value) else f"{value:.1f} {unit}"
    raise AssertionError("unreachable: bytes are the last unit")


def format_seconds(seconds: float) -> str:
    """``1.4 s``, ``2 min 05 s``, ``1 h 10 min``: what a person reads at a glance."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _split(text: str, units: dict[str, float] | dict[str, int]) -> tuple[float, str]:
    match = _QUANTITY.fullmatch(text)
    if not match or match[2] not in units:
        raise ValueError(f"{text!r} is not a number followed by one of {', '.join(units)}")
    return float(match[1]), match[2]
