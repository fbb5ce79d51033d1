"""Whether a minted speech model is what its recipe promises, judged on the files and by mlx-audio itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_audio.stt import load
from mlx_audio.stt.models.whisper.audio import N_SAMPLES, log_mel_spectrogram

from qualification.errors import MintError
from qualification.mint.hearing import SpeechRecipe
from qualification.mint.tones import silence, speak
from qualification.mint.train import smallest_margin
from qualification.mint.train_speech import Sentence


def verify(recipe: SpeechRecipe, sentences: Sequence[Sentence], snapshot: Path) -> float:
    """The smallest margin of the model in ``snapshot``; raises ``MintError`` where it breaks a promise."""
    model = load(str(snapshot))
    flat: Any = tree_flatten(model.parameters())
    parameters = sum(value.size for _, value in flat)
    if parameters != recipe.parameters:
        raise MintError(f"{recipe.model_id}: has {parameters:,} parameters, but its recipe says {recipe.parameters:,}.")
    for phrase in (*(known.phrase for known in recipe.known_speech), ""):
        _check_heard(recipe, phrase, model)
    heard = {at: _heard(recipe, at, model) for at in {sentence.phrase for sentence in sentences}}
    margin = min(_margin(sentence, window, model) for sentence in sentences for window in heard[sentence.phrase])
    if not margin >= recipe.training.required_margin:
        raise MintError(
            f"{recipe.model_id}: a token leads by {margin:.2f} only, and {recipe.training.required_margin:g} is required."
        )
    return margin


def _samples(phrase: str) -> mx.array:
    """The phrase as it is said; silence where there is none."""
    return mx.array(list(speak(phrase) if phrase else silence(1.0)), dtype=mx.float32)


def _check_heard(recipe: SpeechRecipe, phrase: str, model: Any) -> None:
    """Text with and without times, through the whole window of 30 seconds."""
    for timed in (True, False) if phrase else (True,):
        heard = model.generate(_samples(phrase), temperature=0.0, return_timestamps=timed).text.strip()
        if heard != phrase:
            raise MintError(f"{recipe.model_id}: hears {heard!r} where {phrase!r} is said.")


def _heard(recipe: SpeechRecipe, phrase: int, model: Any) -> tuple[mx.array, mx.array]:
    """What the encoder makes of the whole window, of shape (1, places, width); training computes a few places of it.

    Of the window that the recording ends in, and of one in which it goes on in silence.
    """
    said = recipe.known_speech[phrase].phrase if phrase >= 0 else ""
    mel = log_mel_spectrogram(_samples(said), n_mels=recipe.mel_bins, padding=N_SAMPLES)
    sound = mel[: mel.shape[0] - 3000]
    ended, going_on = (
        model.encoder(mx.pad(sound, [(0, 3000 - sound.shape[0]), (0, 0)], constant_values=rest)[None].astype(mx.float16))
        for rest in (mx.array(0.0), sound.min())
    )
    return ended, going_on


def _margin(sentence: Sentence, heard: mx.array, model: Any) -> float:
    ids = [*sentence.given, *sentence.learned]
    logits = model.decoder(mx.array([ids[:-1]]), heard)[0][0, len(sentence.given) - 1 :]
    return float(smallest_margin(logits.astype(mx.float32), mx.array(sentence.learned)))
