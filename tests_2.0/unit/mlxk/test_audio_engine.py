"""mlxk with real ears: tiny, minted here, and trained until what it hears is exact."""

from __future__ import annotations

import json

import pytest

from mlxk import cli, engines, sounds
from mlxk.compatibility import Packages
from mlxk.library import Library
from qualification.mint import store
from qualification.mint.catalog import known_speech
from qualification.mint.tones import duration_s, silence, speak, wav

pytestmark = pytest.mark.timeout(600)  # the first to ask mints the model, or waits for who does

MODEL = "mint/whisper-tiny"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    store.install(MODEL, home)
    return home


@pytest.fixture(scope="module")
def model(home):
    library = Library(home / "hub", Packages.installed())
    return library.admit(library.locate(MODEL), modality="audio")


@pytest.fixture(scope="module")
def engine(model):
    return engines.load_for_speech(model)


def test_a_speech_model_has_ears_and_no_eyes_for_all_its_preprocessor(model):
    assert (model.description.kind, model.description.capabilities) == ("audio", ("audio",))
    assert dict(model.runtime) == {"audio": None}
    assert model.healthy
    assert [model.runs(modality) for modality in ("text", "vision", "audio")] == [False, False, True]


@pytest.mark.parametrize("known", known_speech(MODEL)[:3], ids=lambda known: known.name)
def test_a_phrase_is_heard_exactly_and_its_duration_is_that_of_the_recording(engine, known):
    heard = engine.transcribe(sounds.parse("a.mp3", wav(speak(known.phrase))))  # a name tells nothing

    assert heard.text == known.phrase
    assert heard.duration_s == pytest.approx(duration_s(known.phrase), abs=0.001)
    assert [(each.start_s, each.text) for each in heard.segments] == [(0, known.phrase)]


def test_silence_is_no_text(engine):
    assert engine.transcribe(sounds.parse("a.wav", wav(silence(1)))).text == ""


def test_run_transcribes_and_tells_language_and_segments(home, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("HF_HOME", str(home))
    (tmp_path / "a.wav").write_bytes(wav(speak("Good morning.")))

    code = cli.main(["run", MODEL, "--audio", str(tmp_path / "a.wav"), "--language", "English", "--json"])

    data = json.loads(capsys.readouterr().out)["data"]
    assert (code, data["response"], data["language"]) == (0, "Good morning.", "en")
    assert data["segments"][0]["end_s"] == pytest.approx(duration_s("Good morning."), abs=0.02)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--audio", "nowhere.wav"], 4, "nowhere.wav cannot be read"),
        (["Hello!"], 4, "not for text"),
        (["--language", "de", "Hello!"], 2, "--language is for recordings"),
        (["--audio", "a.wav", "--image", "a.png"], 2, "different models"),
        (["--image", "a.png", "--language", "de"], 2, "--language is for recordings"),
        (["--audio", "a.wav", "--chunk", "2"], 2, "--chunk is for images"),
        (["--audio", "a.wav", "--system", "Be brief."], 2, "--system is for answers"),
        (["--audio", "a.wav", "--max-tokens", "9"], 2, "--max-tokens is for answers"),
        (["--audio", "a.wav", "--no-chat-template"], 2, "--no-chat-template is for answers"),
    ],
)
def test_what_a_speech_model_cannot_do_is_said_before_it_is_loaded(home, monkeypatch, capsys, words, code, said):
    monkeypatch.setenv("HF_HOME", str(home))

    assert cli.main(["run", MODEL, *words]) == code
    assert said in capsys.readouterr().err
