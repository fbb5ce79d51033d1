"""What command-line options may say, where several commands share it."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from mlxk import settings
from mlxk.errors import UsageError
from mlxk.images import MAX_PER_CHUNK


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


_CHUNK = whole(1, MAX_PER_CHUNK)


def add_chunk(parser: argparse.ArgumentParser, where_none: str) -> None:
    """``--chunk``, whose value is to be asked of ``images_per_chunk``."""
    said = f"images that the model is shown at once, 1 to {MAX_PER_CHUNK}; default: $MLXK2_VISION_CHUNK_SIZE, or {where_none}"
    parser.add_argument("--chunk", type=_CHUNK, metavar="N", help=said)


def images_per_chunk(given: int | None) -> int | None:
    """What ``--chunk`` says, or else the variable, or None. Raises UsageError."""
    word = settings.images_per_chunk()
    if given is not None or word is None:
        return given
    try:
        return _CHUNK(word)
    except (argparse.ArgumentTypeError, ValueError) as error:  # int refuses thousands of digits
        bounds = f"a whole number from 1 to {MAX_PER_CHUNK}"
        raise UsageError(f"The variable MLXK2_VISION_CHUNK_SIZE is {word[:20]!r}; set it to {bounds}, or unset it.") from error
