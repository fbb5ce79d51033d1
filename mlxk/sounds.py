"""Recordings that a request brings: read within one set of limits, and known by their content, never by their name."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from mlxk.errors import MediaRefused

MAX_BYTES = 50 << 20
MAX_SECONDS = 2 * 3600
"""Decoded, 64 kB each: 460 MB."""

_SIGNS = (
    (0, b"RIFF", "wav"),
    (0, b"fLaC", "flac"),
    (0, b"OggS", "ogg"),
    (0, b"ID3", "mp3"),
    (4, b"ftyp", "m4a"),
    (0, b"FORM", "aiff"),
    (0, b"caff", "caf"),
    (0, b"\x1aE\xdf\xa3", "webm"),
)
"""Where in a file its first bytes stand, and what they are."""

NEED_FFMPEG = frozenset({"m4a", "aac", "ogg", "aiff", "caf", "webm"})


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """A recording that passed the limits, not decoded yet; ``name`` is what its owner calls it."""

    name: str
    data: bytes
    format: str


def read(path: Path) -> Sound:
    """The recording in a file. Raises MediaRefused."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise MediaRefused(f"The recording {path} cannot be read: {error.strerror or error}.", str(path)) from error
    return parse(str(path), data)


def parse(name: str, data: bytes) -> Sound:
    """The recording in these bytes. Raises MediaRefused."""
    if len(data) > MAX_BYTES:
        raise MediaRefused(f"The recording {name} is larger than {MAX_BYTES >> 20} MB. Cut it into parts.", name, too_large=True)
    if not data:
        raise MediaRefused(f"The recording {name} is empty.", name)
    form = _format(data)
    if form is None:
        raise MediaRefused(
            f"The recording {name} is none that can be read (WAV, MP3, FLAC; with ffmpeg, M4A, OGG and more).", name
        )
    if form in NEED_FFMPEG and shutil.which("ffmpeg") is None:
        raise MediaRefused(
            f"The recording {name} is {form.upper()}, which is read with ffmpeg, and ffmpeg is not installed. "
            "Install it, or convert the recording to WAV, MP3 or FLAC.",
            name,
        )
    return Sound(name, data, form)


def _format(data: bytes) -> str | None:
    for at, sign, form in _SIGNS:
        if data[at : at + len(sign)] == sign:
            return form
    if len(data) < 2 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:  # 11 set bits begin each frame of MPEG audio
        return None
    return "aac" if data[1] & 0x06 == 0 else "mp3"  # then its version, and a layer that AAC leaves 0
