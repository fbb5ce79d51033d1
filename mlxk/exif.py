"""What a camera noted in an image: where, when and with what it was taken."""

from __future__ import annotations

import io
import math
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlxk.images import FORMATS, Image

_MAKE, _MODEL, _CHANGED = 271, 272, 306
_EXIF, _GPS, _TAKEN = 0x8769, 0x8825, 36867
_BROKEN = (OSError, ValueError, SyntaxError, LookupError, TypeError, ArithmeticError, struct.error, AttributeError)
_TIME = re.compile(r"(\d{4}):(\d\d):(\d\d) (\d\d:\d\d:\d\d)")
_LONGEST = 64
TABLE_MARK = "<!-- mlxk:filenames -->"
_ROW = re.compile(r"^\| (\d{1,6}) \| image_([0-9a-f]{8})\.\w{1,5} \|", re.MULTILINE)


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """``location`` is latitude and longitude in decimal degrees, north and east positive; what is not known is None."""

    location: tuple[float, float] | None = None
    date: str | None = None
    camera: str | None = None

    @property
    def known(self) -> bool:
        return any((self.location, self.date, self.camera))

    @property
    def place(self) -> str | None:
        return None if self.location is None else f"{self.location[0]:.5f}, {self.location[1]:.5f}"


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """An image, the number that it has, how people call it, and what is noted in it."""

    number: int
    image: Image
    name: str
    facts: Facts


def facts(image: Image) -> Facts:
    """What is noted; a note that makes no sense counts as none."""
    from PIL import Image as pillow  # noqa: N813, PLC0415 - for requests with images only

    try:
        with pillow.open(io.BytesIO(image.data), formats=FORMATS) as opened:
            noted = opened.getexif()
            details, gps = noted.get_ifd(_EXIF), noted.get_ifd(_GPS)
    except _BROKEN:
        return Facts()
    return Facts(location(gps), _date(details.get(_TAKEN) or noted.get(_CHANGED)), _camera(noted))


def table(rows: Sequence[Row]) -> str:
    """The facts as a Markdown table that a page can fold."""
    written = [
        f"| {row.number} | image_{row.image.id}.{row.image.format.lower()} | {_cell(row.name)} | {row.facts.place or '—'} | "
        f"{row.facts.date or '—'} | {_cell(row.facts.camera or '—')} |"
        for row in rows
    ]
    return "\n".join(
        [
            TABLE_MARK,
            f"<details><summary>Images ({len(rows)})</summary>",
            "",
            "| Image | Filename | Original | Location | Date | Camera |",
            "|---|---|---|---|---|---|",
            *written,
            "",
            "</details>",
        ]
    )


def numbers(text: str) -> Iterator[tuple[str, int]]:
    """The ids of the images in the tables of a text, and the numbers that they have there."""
    return ((found[2], int(found[1])) for found in (_ROW.finditer(text) if TABLE_MARK in text else ()))


def context(noted: Sequence[Facts], numbers: Sequence[int]) -> str:
    """The facts as sentences to put before a prompt; empty where there are none."""
    sentences = []
    for number, found in zip(numbers, noted, strict=True):
        parts = [
            f"taken at {found.place}" if found.place else "",
            f"on {found.date}" if found.date else "",
            f"with {found.camera}" if found.camera else "",
        ]
        if found.known:
            sentences.append(f"Image {number}: {' '.join(filter(None, parts))}.")
    return "\n".join(sentences)


def location(gps: Mapping[int, Any]) -> tuple[float, float] | None:
    """Latitude and longitude of a GPS directory, by the EXIF standard (tags 1 to 4); None where they make no sense."""
    try:
        latitude, longitude = (_degrees(gps[at + 1]) * (-1 if str(gps[at]).upper() in "SW" else 1) for at in (1, 3))
    except _BROKEN:
        return None
    sensible = math.isfinite(latitude) and math.isfinite(longitude) and abs(latitude) <= 90 and abs(longitude) <= 180
    return (latitude, longitude) if sensible else None


def _degrees(parts: Sequence[Any]) -> float:
    degrees, minutes, seconds = (float(part) for part in parts)
    return degrees + minutes / 60 + seconds / 3600


def _date(text: object) -> str | None:
    found = _TIME.match(str(text or ""))
    return f"{found[1]}-{found[2]}-{found[3]} {found[4]}" if found else None


def _camera(noted: Mapping[int, Any]) -> str | None:
    make, model = (_words(noted.get(tag)) for tag in (_MAKE, _MODEL))
    return " ".join(filter(None, (("" if model.startswith(make) else make), model))) or None


def _words(value: object) -> str:
    """Printable and on one line: a camera's name is text that a stranger wrote."""
    return " ".join("".join(letter for letter in str(value or "") if letter.isprintable()).split())[:_LONGEST]


def _cell(text: str) -> str:
    return " ".join(text.replace("<", "&lt;").replace("|", "\\|").split())
