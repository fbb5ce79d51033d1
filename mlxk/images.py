"""Images that a request brings, from files or data URLs: read within one set of limits, whoever asks.

What an image says of itself is looked at before any pixel is decoded, and Pillow is imported only where there is one.
"""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlxk.errors import MediaRefused

MAX_BYTES = 20 << 20
MAX_TOTAL_BYTES = 50 << 20
"""Of all images that are shown to a model at once."""
MAX_PIXELS = 64_000_000
"""Decoded, three bytes each: 192 MB. Cameras of 50 million pixels are below it, decompression bombs are not."""
MAX_AT_ONCE = 32
MAX_PER_CHUNK = 5
"""Where a message's images are shown in parts."""
FORMATS = ("JPEG", "PNG", "GIF", "WEBP")

_BROKEN = (OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, ArithmeticError, struct.error, AttributeError)
"""What Pillow's readers raise for files that are not what they seem."""


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """An encoded image that passed the limits; ``name`` is what its owner calls it."""

    name: str
    data: bytes
    format: str
    width: int
    height: int

    @property
    def id(self) -> str:
        """8 hex digits that follow from the content alone."""
        return hashlib.sha256(self.data).hexdigest()[:8]


def read(path: Path) -> Image:
    """The image in a file. Raises MediaRefused."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise MediaRefused(f"The image {path} cannot be read: {error.strerror or error}.", str(path)) from error
    return parse(str(path), data)


def parse(name: str, data: bytes) -> Image:
    """The image in these bytes, not decoded yet. Raises MediaRefused."""
    if len(data) > MAX_BYTES:
        raise MediaRefused(f"The image {name} is larger than {MAX_BYTES >> 20} MB. Make it smaller.", name, too_large=True)
    if not data:
        raise MediaRefused(f"The image {name} is empty.", name)
    with _opened(name, data) as opened:
        width, height = opened.size
        if width * height > MAX_PIXELS:
            raise MediaRefused(
                f"The image {name} has {width} x {height} pixels, and {MAX_PIXELS // 10**6} million are the most.",
                name,
                too_large=True,
            )
        if _is_animated(name, opened):
            raise MediaRefused(f"The image {name} is animated. Save the frame that is meant as an image of its own.", name)
        return Image(name, data, str(opened.format), width, height)


def decode(image: Image) -> Any:
    """The pixels, upright and in RGB, as an image of Pillow. Raises MediaRefused where the file ends too soon or is damaged."""
    from PIL import ImageOps  # noqa: PLC0415 - for requests with images only

    with _opened(image.name, image.data) as opened:
        try:
            return ImageOps.exif_transpose(opened).convert("RGB")
        except _BROKEN as error:
            raise MediaRefused(f"The image {image.name} is damaged or cut short: {error}.", image.name) from error


def check_together(images: Sequence[Image]) -> None:
    """Whether these may be shown to a model at once. Raises MediaRefused."""
    if len(images) > MAX_AT_ONCE:
        raise MediaRefused(f"There are {len(images)} images, and {MAX_AT_ONCE} are the most at once. Show fewer.", too_large=True)
    if sum(len(image.data) for image in images) > MAX_TOTAL_BYTES:
        raise MediaRefused(
            f"The images together are larger than {MAX_TOTAL_BYTES >> 20} MB. Show fewer at once.",
            too_large=True,
        )
    if sum(image.width * image.height for image in images) > 2 * MAX_PIXELS:
        raise MediaRefused(
            f"The images together have more than {2 * MAX_PIXELS // 10**6} million pixels. Show fewer at once.", too_large=True
        )


def _is_animated(name: str, opened: Any) -> bool:
    """Pillow looks for a second frame where it is asked this, not before."""
    try:
        return bool(getattr(opened, "is_animated", False))
    except _BROKEN as error:
        raise MediaRefused(f"The image {name} is damaged or cut short: {error}.", name) from error


def _opened(name: str, data: bytes) -> Any:
    from PIL import Image as pillow  # noqa: N813, PLC0415 - for requests with images only

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of many pixels; we count them ourselves
            return pillow.open(io.BytesIO(data), formats=FORMATS)
    except pillow.DecompressionBombError as error:
        raise MediaRefused(f"The image {name} has too many pixels: {error}. Make it smaller.", name, too_large=True) from error
    except _BROKEN as error:
        known = ", ".join(FORMATS)
        raise MediaRefused(f"The image {name} is none that can be read ({known}), or it is damaged.", name) from error
