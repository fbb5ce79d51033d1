"""Types of command-line options that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def number(lowest: float, highest: float) -> Callable[[str], float]:
    """A finite number from ``lowest`` to ``highest``."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not lowest <= value <= highest:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {lowest} to {highest}")
        return value

    return parse


def whole(lowest: int, highest: int | None = None) -> Callable[[str], int]:
    """A whole number of at least ``lowest``."""

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < lowest or (highest is not None and int(text) > highest):
            bound = f"of at least {lowest}" if highest is None else f"from {lowest} to {highest}"
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number {bound}")
        return int(text)

    return parse
