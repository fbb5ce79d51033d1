"""What the minted speech model hears, judged by mlx-audio."""

import array

import pytest

from qualification.mint import catalog, store
from qualification.mint.hearing import PHRASES
from qualification.mint.tones import Voice, duration_s, silence, speak

pytestmark = pytest.mark.timeout(600)  # the first to ask mints the model, or waits for who does

MODEL = "mint/whisper-tiny"
UNHEARD = Voice(pitch=1.01, speed=0.98, loudness=0.5, lead_s=0.05, noise=0.002)
"""As no phrase was said in training."""


@pytest.fixture(scope="module")
def hear():
    """``hear(samples)`` is the transcript by mlx-audio's ordinary functions."""
    import mlx.core as mx
    from mlx_audio.stt import load

    model = load(str(store.ensure([MODEL])[0].snapshot))
    return lambda samples, **options: model.generate(mx.array(samples, dtype=mx.float32), temperature=0.0, **options)


@pytest.mark.parametrize("known", catalog.known_speech(MODEL), ids=lambda known: known.name)
def test_a_phrase_is_heard_exactly_with_its_end(hear, known):
    heard = hear(speak(known.phrase))
    (segment,) = heard.segments

    assert heard.text == f" {known.phrase}"
    assert segment["start"] == 0
    assert abs(segment["end"] - duration_s(known.phrase)) < 0.02


def test_a_phrase_is_heard_in_another_voice(hear):
    assert hear(speak("Good morning.", UNHEARD)).text.strip() == "Good morning."


def test_silence_is_heard_as_nothing(hear):
    assert hear(silence(2)).text.strip() == ""


@pytest.mark.parametrize("before", PHRASES)
def test_what_comes_in_the_second_window_is_heard_with_its_time_whatever_came_before(hear, before):
    spoken = speak(before)
    heard = hear(array.array("d", [*spoken, *silence(30 - len(spoken) / 16000), *speak("Hello world.")]))
    first, second = heard.segments

    assert heard.text.strip() == f"{before} Hello world."
    assert first["end"] == pytest.approx(len(spoken) / 16000, abs=0.02)
    assert second["start"] == pytest.approx(30, abs=0.02)
