"""A real speech model, by command and by HTTP: what is said, when, in which language, and recordings nobody should trust."""

from __future__ import annotations

import array
from pathlib import Path

import pytest

from qualification.mint.catalog import known_speech
from qualification.mint.tones import RATE, duration_s, silence, speak, wav

pytestmark = [pytest.mark.live, pytest.mark.live_e2e]

ASSETS = Path(__file__).parents[1] / "assets"
PHRASE = "Nine red apples."
"""What is said in the recordings there."""


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

    arguments = ("run", audio_model_info.model_id, "--audio", recorded(long))

    data = mlxk(*arguments, "--json").envelope["data"]
    shown = mlxk(*arguments, environment={"MLXK2_AUDIO_SEGMENTS": "1"})

    assert shown.code == 0, shown.stderr
    assert shown.stdout.startswith(f"{data['response']}\n\n| Start | End | Text |\n")
    assert shown.stdout.count("\n| ") == 1 + len(data["segments"])
    if known_speech(audio_model_info.model_id):
        assert data["response"] == "Turn left now. Hello world."
        assert [segment["start_s"] for segment in data["segments"]] == [0, 30]
        assert "| 30.00 | " in shown.stdout


def test_silence_is_no_text(mlxk, audio_model_info, recorded):
    done = mlxk("run", audio_model_info.model_id, "--audio", recorded(silence(1)), "--json")

    assert done.code == 0, done.stderr
    assert not known_speech(audio_model_info.model_id) or done.envelope["data"]["response"] == ""


@pytest.mark.unmeasured("nothing is loaded")
def test_a_file_that_is_no_recording_is_one_sentence(mlxk, audio_model_info, tmp_path):
    (tmp_path / "a.wav").write_bytes(b"This is no sound at all.")

    done = mlxk("run", audio_model_info.model_id, "--audio", str(tmp_path / "a.wav"), "--json")

    assert (done.code, done.envelope["error"]["type"]) == (4, "media_refused")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("kind", ["mp3", "flac"])
def test_a_compressed_recording_is_heard_as_well(mlxk, audio_model_info, kind):
    done = mlxk("run", audio_model_info.model_id, "--audio", str(ASSETS / f"nine-red-apples.{kind}"), "--json")

    assert done.code == 0, done.stderr
    assert done.envelope["data"]["duration_s"] == pytest.approx(duration_s(PHRASE), abs=0.05)
    assert not known_speech(audio_model_info.model_id) or done.envelope["data"]["response"] == PHRASE


class TestAudioTranscriptionsServer:
    def test_transcription_endpoint_json(self, server, audio_model_info):
        answer = server.transcribe(audio_model_info.model_id, wav(speak(PHRASE)))

        assert answer.status == 200, answer.body
        assert answer.headers["content-type"].startswith("application/json")
        assert answer.json["usage"] == {"type": "duration", "seconds": pytest.approx(duration_s(PHRASE), abs=0.001)}
        assert not known_speech(audio_model_info.model_id) or answer.json["text"] == PHRASE

    def test_transcription_endpoint_text_format(self, server, audio_model_info):
        answer = server.transcribe(audio_model_info.model_id, wav(speak(PHRASE)), response_format="text")

        assert answer.status == 200, answer.body
        assert answer.headers["content-type"].startswith("text/plain")
        assert not known_speech(audio_model_info.model_id) or answer.body.decode() == PHRASE

    def test_transcription_endpoint_verbose_json(self, server, audio_model_info):
        told = server.transcribe(audio_model_info.model_id, wav(speak(PHRASE)), response_format="verbose_json").json

        assert told["task"] == "transcribe"
        assert told["duration"] == pytest.approx(duration_s(PHRASE), abs=0.001)
        if known_speech(audio_model_info.model_id):
            (segment,) = told["segments"]
            assert (segment["text"], segment["start"]) == (PHRASE, 0)
            assert segment["end"] == pytest.approx(duration_s(PHRASE), abs=0.03)

    def test_transcription_endpoint_mp3(self, server, audio_model_info):
        """The name says something else, and nobody asks it."""
        answer = server.transcribe(audio_model_info.model_id, (ASSETS / "nine-red-apples.mp3").read_bytes(), "a.wav")

        assert answer.status == 200, answer.body
        assert answer.json["usage"]["seconds"] == pytest.approx(duration_s(PHRASE), abs=0.05)
        assert not known_speech(audio_model_info.model_id) or answer.json["text"] == PHRASE

    def test_transcription_endpoint_with_language(self, server, audio_model_info):
        answer = server.transcribe(audio_model_info.model_id, wav(speak(PHRASE)), language="en", response_format="verbose_json")

        assert (answer.status, answer.json["language"]) == (200, "en"), answer.body

    @pytest.mark.unmeasured("nothing is heard")
    def test_transcription_endpoint_rejects_oversized_audio(self, server, audio_model_info):
        answer = server.transcribe(audio_model_info.model_id, wav(speak(PHRASE)) + bytes(50 << 20))

        assert (answer.status, answer.json["error"]["param"]) == (413, "file"), answer.body

    def test_subtitles_have_the_times_of_what_is_said(self, server, audio_model_info):
        recording = wav(speak(PHRASE))
        srt, vtt = (server.transcribe(audio_model_info.model_id, recording, response_format=each) for each in ("srt", "vtt"))

        assert (srt.status, vtt.status) == (200, 200)
        assert vtt.body.startswith(b"WEBVTT\n\n")
        if known_speech(audio_model_info.model_id):
            assert srt.body.decode().splitlines()[::2] == ["1", PHRASE]
            assert srt.body.startswith(b"1\n00:00:00,000 --> 00:00:01,0")

    def test_another_phrase_is_another_text_and_silence_is_none(self, server, audio_model_info):
        heard = [
            server.transcribe(audio_model_info.model_id, wav(samples)).json["text"]
            for samples in (speak(PHRASE), speak("Hello world."), silence(1))
        ]

        assert not known_speech(audio_model_info.model_id) or heard == [PHRASE, "Hello world.", ""]

    def test_recordings_that_nobody_should_trust_are_one_error_and_harm_nobody(self, server, audio_model_info):
        before = server.transcribe(audio_model_info.model_id, wav(speak(PHRASE))).json
        for wrong in (b"", b"This is no sound at all.", wav(array.array("d")), b"fLaC" + bytes(99)):
            answer = server.transcribe(audio_model_info.model_id, wrong)

            assert (answer.status, answer.json["error"]["param"]) == (400, "file"), wrong[:20]
        assert server.transcribe(audio_model_info.model_id, wav(speak(PHRASE))).json == before

    @pytest.mark.unmeasured("nothing is answered")
    def test_a_speech_model_answers_no_text_and_says_why(self, server, audio_model_info):
        answer = server.chat(audio_model_info.model_id, [{"role": "user", "content": "Hello!"}])

        assert (answer.status, answer.json["error"]["code"]) == (422, "capability_not_supported")
        assert server.get(f"/v1/models/{audio_model_info.model_id}").json["capabilities"] == ["audio"]
