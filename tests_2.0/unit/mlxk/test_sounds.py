"""Recordings of strangers: known by their content, refused in one sentence."""

import array
import math
import os
import struct
import tempfile
from pathlib import Path

import pytest

from mlxk import languages, sounds
from mlxk.errors import MediaRefused, UsageError
from qualification.mint.tones import RATE, speak, wav


def float_wav(values):
    """A WAV file of 32-bit floats (format 3), by the RIFF specification."""
    data = struct.pack(f"<{len(values)}f", *values)
    form = struct.pack("<HHIIHH", 3, 1, RATE, RATE * 4, 4, 32)
    body = b"WAVE" + b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize(
    ("data", "form"),
    [
        (wav(speak("a")), "wav"),
        (b"ID3\x04\0\0\0\0\0\0", "mp3"),
        (b"\xff\xfb\x90\x00", "mp3"),
        (b"fLaC\0\0\0\x22", "flac"),
    ],
)
def test_a_recording_is_known_by_its_first_bytes_whatever_it_is_called(data, form):
    assert sounds.parse("a.txt", data).format == form


@pytest.mark.parametrize(
    ("data", "form"),
    [(b"\0\0\0\x20ftypM4A ", "M4A"), (b"OggS\0", "OGG"), (b"FORM\0\0\0\0AIFF", "AIFF"), (b"\xff\xf1\x50\x80", "AAC")],
)
def test_what_needs_ffmpeg_says_so_where_it_is_missing(data, form, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(MediaRefused, match=f"is {form}, which is read with ffmpeg, and ffmpeg is not installed"):
        sounds.parse("a", data)


@pytest.mark.parametrize(
    ("data", "status", "said"),
    [
        (b"", 400, "is empty"),
        (b"no sound", 400, "none that can be read"),
        (bytes(sounds.MAX_BYTES + 1), 413, "larger than 50 MB"),
    ],
)
def test_what_is_no_recording_is_refused(data, status, said):
    with pytest.raises(MediaRefused, match=said) as refused:
        sounds.parse("a.wav", data)

    assert (413 if refused.value.too_large else 400) == status


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(MediaRefused, match=r"nowhere\.wav cannot be read: No such file"):
        sounds.read(tmp_path / "nowhere.wav")


def decoded(data):
    from mlxk.engines.audio import decode

    return decode(sounds.parse("a.wav", data))


def test_samples_come_back_as_they_were_recorded():
    samples = decoded(wav(array.array("d", [0.5, -0.5, 0.25] * 100)))

    assert len(samples) == 300
    assert samples[0] == pytest.approx(0.5, abs=1e-4)


def test_another_rate_keeps_the_duration():
    assert len(decoded(wav(speak("hello"), rate=RATE // 2))) == pytest.approx(2 * len(speak("hello")), rel=0.01)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (wav(array.array("d")), "0 seconds"),
        (b"RIFF\xff\xff\xff\xffWAVEgarbage", "damaged"),
        (b"fLaC" + bytes(200), "damaged"),
        (b"ID3" + bytes(200), "damaged|0 seconds"),
    ],
)
def test_a_recording_without_sound_or_sense_is_refused(data, said):
    with pytest.raises(MediaRefused, match=said):
        decoded(data)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e30])
def test_samples_that_are_no_numbers_never_reach_a_model(value):
    samples = decoded(float_wav([0.1, value, 0.1] * 50))

    assert len(samples) == 150
    assert all(-1 <= each <= 1 for each in samples.tolist())


def test_a_language_that_is_none_is_named():
    assert [languages.code(each) for each in ("en", "German", "JA")] == ["en", "de", "ja"]
    with pytest.raises(UsageError, match="There is no language 'elvish'"):
        languages.code("elvish")


def test_the_languages_are_those_of_whisper():
    from mlx_audio.stt.models.whisper.tokenizer import TO_LANGUAGE_CODE

    assert {name: languages.code(name) for name in TO_LANGUAGE_CODE} == TO_LANGUAGE_CODE
    assert all(languages.code(code) == code for code in TO_LANGUAGE_CODE.values())


def tagged(data, *, size=20, padding=0):
    """Behind an ID3v2.4 tag of ``size`` bytes, by its specification."""
    return b"ID3\x04\x00\x00" + bytes([0, 0, size >> 7, size & 0x7F]) + b"t" * size + bytes(padding) + data


ASSETS = Path(__file__).parents[2] / "assets"


@pytest.mark.parametrize("wrap", [tagged, lambda data: tagged(tagged(data), size=200, padding=99)], ids=["a tag", "tags"])
def test_tags_may_stand_before_any_recording(wrap):
    whole = decoded((ASSETS / "nine-red-apples.mp3").read_bytes())

    assert len(decoded(wrap((ASSETS / "nine-red-apples.mp3").read_bytes()))) == len(whole)
    assert len(decoded(wrap((ASSETS / "nine-red-apples.flac").read_bytes()))) == len(speak("Nine red apples."))
    assert sounds.parse("a", wrap(b"\xff\xe3" + bytes(99))).format == "mp3"


def test_a_mountain_of_tags_is_no_recording():
    with pytest.raises(MediaRefused, match="none that can be read"):
        sounds.parse("a", tagged(b"", size=0) * 1000)


@pytest.mark.parametrize("rate", [1, 7, 8, 16, 3999, 15_999, 191_999])
def test_an_odd_rate_which_would_take_minutes_and_gigabytes_is_refused(rate):
    with pytest.raises(MediaRefused, match=f"has {rate} samples a second"):
        decoded(wav(array.array("d", [0.5] * 100), rate=rate))


@pytest.mark.parametrize("rate", [4000, 8000, 11_025, 12_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000, 384_000])
def test_every_usual_rate_is_read(rate):
    assert len(decoded(wav(array.array("d", [0.5] * rate), rate=rate))) == RATE


FFMPEG = """#!/bin/sh
while [ "$1" != -i ]; do shift; done
tail -c +9 "$2"
%s
"""
"""It writes what follows the first eight bytes of a file, as samples."""


@pytest.fixture
def ffmpeg(tmp_path, monkeypatch):
    """``ffmpeg(end)`` puts one before all others, which ends like this."""

    def put(end=""):
        (tmp_path / "ffmpeg").write_text(FFMPEG % end, encoding="utf-8")
        (tmp_path / "ffmpeg").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        (tmp_path / "files").mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "files"))
        return tmp_path / "files"

    return put


def test_what_ffmpeg_reads_comes_from_a_file_without_a_name(ffmpeg):
    files = ffmpeg(end=f"find {'$(dirname $0)'}/files -type f >&2")
    samples = decoded(b"\x00\x00\x00\x20ftyp" + array.array("h", [16384, -16384] * 50).tobytes())

    assert samples.tolist() == [0.5, -0.5] * 50
    assert [*files.iterdir()] == []


@pytest.mark.parametrize(
    ("end", "said"), [("echo moov atom not found >&2; exit 1", "moov atom not found"), ("exec sleep 60", "within 1 s")]
)
def test_what_ffmpeg_cannot_read_in_time_is_refused(ffmpeg, monkeypatch, end, said):
    ffmpeg(end)
    monkeypatch.setattr(sounds, "_FFMPEG_S", 1.0)

    with pytest.raises(MediaRefused, match=said) as refused:
        decoded(b"\x00\x00\x00\x20ftyp" + bytes(99))
    assert refused.value.media == "a.wav"
