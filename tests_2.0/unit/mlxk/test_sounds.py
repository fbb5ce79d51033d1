"""Recordings of strangers: known by their content, refused in one sentence."""

import array
import math
import struct

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
