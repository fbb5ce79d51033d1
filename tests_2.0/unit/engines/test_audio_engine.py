"""mlxk with real ears: tiny, minted here, and trained until what it hears is exact."""

from __future__ import annotations

import array
import json

import pytest

from mlxk import cli, engines, sounds
from mlxk.compatibility import Packages
from mlxk.engines import Generation, Recording, Sampling, complete
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
    return engines.load(model, "audio")


def hear(engine, data, cancelled=lambda: False, **options):
    recording = Recording(sounds.parse("a.mp3", data), **options)  # a name tells nothing
    return complete(engine.stream(Generation("", sampling=Sampling(temperature=0), recording=recording), cancelled))


def test_a_speech_model_has_ears_and_no_eyes_for_all_its_preprocessor(model):
    assert (model.description.kind, model.description.capabilities) == ("audio", ("audio",))
    assert dict(model.runtime) == {"audio": None}
    assert model.healthy
    assert [model.runs(modality) for modality in ("text", "vision", "audio")] == [False, False, True]


@pytest.mark.parametrize("known", known_speech(MODEL)[:3], ids=lambda known: known.name)
def test_a_phrase_is_heard_exactly_and_its_duration_is_that_of_the_recording(engine, known):
    answer = hear(engine, wav(speak(known.phrase)))

    assert (answer.text, answer.finish_reason) == (known.phrase, "stop")
    assert answer.heard.duration_s == pytest.approx(duration_s(known.phrase), abs=0.001)
    assert [(each.start_s, each.text) for each in answer.heard.segments] == [(0, known.phrase)]
    assert answer.usage.completion_tokens == len(answer.heard.segments[0].decoding.tokens)


def test_silence_is_no_text(engine):
    answer = hear(engine, wav(silence(1)))

    assert (answer.text, answer.heard.segments) == ("", ())


def test_language_prompt_and_temperature_are_those_that_mlx_audio_is_given(engine, model):
    from mlx_audio.stt import load

    from mlxk.engines.audio import decode

    sound = sounds.parse("a.wav", wav(speak("Nine red apples.")))
    asked = Generation("Hello world.", sampling=Sampling(temperature=0.7), recording=Recording(sound, "de"))
    heard = complete(engine.stream(asked, lambda: False)).heard
    whisper = load(str(model.snapshot.path))
    own = whisper.generate(decode(sound), language="de", initial_prompt="Hello world.", temperature=0.7)
    (segment,) = heard.segments

    assert (heard.language, segment.decoding.temperature) == (own.language, own.segments[0]["temperature"]) == ("de", 0.7)
    assert segment.decoding.avg_logprob == pytest.approx(own.segments[0]["avg_logprob"], rel=0.01)
    assert segment.decoding.avg_logprob != hear(engine, sound.data).heard.segments[0].decoding.avg_logprob


def test_words_are_told_one_after_another_where_they_are_asked_for(engine):
    (segment,) = hear(engine, wav(speak("Nine red apples.")), words=True).heard.segments

    assert [word.text for word in segment.words] == ["Nine", "red", "apples."]
    ends = [moment for word in segment.words for moment in (word.start_s, word.end_s)]
    assert ends == sorted(ends)
    assert not hear(engine, wav(speak("Nine red apples."))).heard.segments[0].words


def test_listening_ends_at_the_next_window_once_it_is_cancelled_and_the_next_recording_is_heard(engine):
    long = array.array("d", [*speak("Turn left now."), *silence(70)])
    asked = []

    def cancelled():
        asked.append(True)
        return len(asked) > 1

    assert hear(engine, wav(long), cancelled) is None
    assert len(asked) == 2
    assert hear(engine, wav(speak("Hello world."))).text == "Hello world."


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
