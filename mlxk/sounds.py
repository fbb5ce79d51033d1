"""Recordings that a request brings: read within one set of limits, and known by their content, never by their name."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
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
    (4, b"ftyp", "m4a"),
    (0, b"FORM", "aiff"),
    (0, b"caff", "caf"),
    (0, b"\x1aE\xdf\xa3", "webm"),
)
"""Where in a file its first bytes stand, and what they are."""

NEED_FFMPEG = {"m4a": "mov", "aac": "aac", "ogg": "ogg", "aiff": "aiff", "caf": "caf", "webm": "matroska"}
"""The formats that ffmpeg reads for us, and what it calls them."""

_FFMPEG_S = 120.0
_PART = re.compile(r"\[[^\]]* @ 0x[0-9a-f]+\]")  # which part of ffmpeg says something
_MOST_TAGS = 8
_EMPTY_TAG = b"ID3\4" + bytes(6)  # before what is MP3 but for garbage at its beginning


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
    data, form = _known(data)
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


def through_ffmpeg(sound: Sound, rate: int) -> bytes:
    """The first samples of one channel, as 16-bit integers of this machine's order; more than ``MAX_SECONDS`` where there are.

    ffmpeg wants a file that it can jump about in, so it gets one without a name, which ends with us. It is told what the file is,
    because it would find things of its own in it that name other files and URLs. Raises MediaRefused.
    """
    with tempfile.TemporaryFile() as file:
        file.write(sound.data)
        file.seek(0)
        kept = f"/dev/fd/{file.fileno()}"
        argv = [
            *(shutil.which("ffmpeg") or "ffmpeg", "-nostdin", "-v", "error", "-protocol_whitelist", "file,pipe"),
            *("-f", NEED_FFMPEG[sound.format], "-i", kept, "-map", "0:a:0", "-t", str(MAX_SECONDS + 1)),
            *("-ac", "1", "-ar", str(rate), "-f", f"s16{'le' if sys.byteorder == 'little' else 'be'}", "pipe:1"),
        ]
        try:
            done = subprocess.run(
                argv, pass_fds=(file.fileno(),), stdin=subprocess.DEVNULL, capture_output=True, timeout=_FFMPEG_S, check=False
            )
        except OSError as error:
            raise MediaRefused(f"ffmpeg, which reads {sound.name}, cannot be started: {error.strerror}.", sound.name) from error
        except subprocess.TimeoutExpired as error:
            why = f"ffmpeg could not read it within {_FFMPEG_S:g} s"
            raise MediaRefused(f"The recording {sound.name} is damaged: {why}.", sound.name) from error
    if done.returncode != 0:
        said = " ".join(_PART.sub("", done.stderr.decode("utf-8", "replace")).replace(kept, sound.name).split())
        raise MediaRefused(f"The recording {sound.name} is damaged, says ffmpeg: {said[-300:]}", sound.name)
    return done.stdout


def _known(data: bytes) -> tuple[bytes, str | None]:
    """The recording without the tags before it, which may stand before any of the formats, and what it is."""
    if data[:3] != b"ID3":
        return data, _format(data)
    bare = data
    for _ in range(_MOST_TAGS):
        if bare[:3] == b"ID3" and len(bare) >= 10:
            bare = bare[_tag_bytes(bare) :].lstrip(b"\0")
    form = _format(bare)
    if form is None and bare[:3] != b"ID3":
        return _EMPTY_TAG + bare, "mp3"
    return bare, form


def _tag_bytes(data: bytes) -> int:
    """The length of the tag that this begins with. Source: https://id3.org/id3v2.4.0-structure"""
    size = 0
    for byte in data[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size + (10 if data[5] & 0x10 else 0)


def _format(data: bytes) -> str | None:
    for at, sign, form in _SIGNS:
        if data[at : at + len(sign)] == sign:
            return form
    if len(data) < 2 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:  # 11 set bits begin each frame of MPEG audio
        return None
    return "aac" if data[1] & 0x06 == 0 else "mp3"  # then its version, and a layer that AAC leaves 0
