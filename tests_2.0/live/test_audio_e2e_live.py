"""``mlxk run --audio`` on a real model: what is said, when, in which language, and recordings that nobody should trust."""

from __future__ import annotations

import array

import pytest

from qualification.mint.catalog import known_speech
from qualification.mint.tones import RATE, duration_s, silence, speak, wav

pytestmark = [pytest.mark.live, pytest.mark.live_e2e]


@pytest.fixture
def recorded(tmp_path):
    """``recorded(samples)`` is the path of a WAV file of them."""

    def write(samples, name="a.wav"):
        (tmp_path / name).write_bytes(wav(samples))
        return str(tmp_path / name)

    return write


def test_a_recording_is_transcribed_with_its_segments_and_true_duration(mlxk, audio_model_info, recorded):
    known = known_speech(audio_model_info.model_id)
    phrase = known[1].phrase if known else "Nine red apples."

    done = mlxk("run", audio_model_info.model_id, "--audio", recorded(speak(phrase)), "--language", "en", "--json")

    data = done.envelope["data"]
    assert (done.code, data["language"]) == (0, "en"), done.stderr
    assert data["duration_s"] == pytest.approx(duration_s(phrase), abs=0.001)
    if known:
        (segment,) = data["segments"]
        assert (data["response"], segment["text"], segment["start_s"]) == (phrase, phrase, 0)
        assert segment["end_s"] == pytest.approx(duration_s(phrase), abs=0.02)


def test_a_recording_of_more_than_one_window_is_heard_to_its_end(mlxk, audio_model_info, recorded):
    first = speak("Turn left now.")
    long = array.array("d", [*first, *silence(30 - len(first) / RATE), *speak("Hello world.")])

    done = mlxk("run", audio_model_info.model_id, "--audio", recorded(long), environment={"MLXK2_AUDIO_SEGMENTS": "1"})

    assert done.code == 0, done.stderr
    assert "| Start | End | Text |" in done.stdout
    if known_speech(audio_model_info.model_id):
        assert done.stdout.splitlines()[0] == "Turn left now. Hello world."
        assert "| 30.00 | " in done.stdout


def test_silence_is_no_text(mlxk, audio_model_info, recorded):
    done = mlxk("run", audio_model_info.model_id, "--audio", recorded(silence(1)))

    assert done.code == 0, done.stderr
    assert not known_speech(audio_model_info.model_id) or done.stdout.strip() == ""


def test_a_file_that_is_no_recording_is_one_sentence(mlxk, audio_model_info, tmp_path):
    (tmp_path / "a.wav").write_bytes(b"This is no sound at all.")

    done = mlxk("run", audio_model_info.model_id, "--audio", str(tmp_path / "a.wav"), "--json")

    assert (done.code, done.envelope["error"]["type"]) == (4, "media_refused")
    assert "Traceback" not in done.stderr
