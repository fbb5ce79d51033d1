"""Finding weights that hear phrases, for Whisper as mlx-audio has it.

A window of 30 seconds is 1,500 places, nearly all of them silence and equal but for where they are. Here the places of the
sound are computed, and 16 of the others, each counting for as many as it stands for. The encoder's blocks pass on what they
get: their last projections are zero and are not trained.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
from mlx.nn import losses
from mlx.nn.layers.activations import gelu
from mlx.nn.utils import value_and_grad
from mlx_audio.stt.models.whisper.audio import N_SAMPLES, log_mel_spectrogram
from mlx_audio.stt.models.whisper.whisper import Model, ModelDimensions

from qualification.mint.hearing import SpeechRecipe
from qualification.mint.tones import duration_s, silence, speak, voices
from qualification.mint.train import Step, Trained, clipped, named, optimizer, smallest_margin

_VOICES = 10
_FRAMES = 160
"""Frames of 10 ms that every phrase fits into; behind its end the runtime puts zeros."""
_PLACES = _FRAMES // 2
_SILENT = 16
_WINDOW = 1500
_AT_ONCE = 32
"""Sentences of one step, drawn from all."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """Token ids that are given and that are learned behind them; the sound is a phrase's, or -1 for silence."""

    given: tuple[int, ...]
    learned: tuple[int, ...]
    phrase: int


@dataclass(frozen=True, slots=True)
class _Turn:
    """All phrases and silence, each in a voice: mels of shape (phrases + 1, frames, bins).

    ``rest`` is every value of the mels behind the last frame, of shape (phrases + 1, 1, 1).
    """

    mels: mx.array
    rest: mx.array


@dataclass(frozen=True, slots=True)
class _Batch:
    """``inputs`` (rows, length), the phrase of each row, and the flat places and the values of all learned tokens."""

    inputs: mx.array
    phrases: mx.array
    places: mx.array
    targets: mx.array


def train(
    recipe: SpeechRecipe, sentences: Sequence[Sentence], config: dict[str, Any], progress: Callable[[Step], None] | None
) -> Trained:
    """Train until every learned token leads by ``stop_margin`` in every voice, or ``max_steps`` are used up."""
    mx.disable_compile()
    tell = progress or (lambda step: None)
    with mx.stream(mx.cpu):
        mx.random.seed(recipe.training.seed)
        model = _blank(config)
        turns = _spoken(recipe)
        last = _descend(recipe, model, turns, sentences, tell)
        weights = {name: value.astype(mx.float16) for name, value in named(model.parameters())}
        mx.eval(weights)
    return Trained(weights, config, last)


def sentences(recipe: SpeechRecipe, ids: Callable[[str], list[int]], token: Callable[[str], int]) -> tuple[Sentence, ...]:
    """Each phrase with its times and without, also behind each that may be heard before it; silence, which ends at once.

    After one and the same phrase a model would learn what follows, and not hear.
    """
    start, zero, end = token("<|startoftranscript|>"), token("<|0.00|>"), token("<|endoftext|>")
    found = []
    spoken = [(ids(f" {known.phrase}"), token(f"<|{_rounded(known.phrase):.2f}|>")) for known in recipe.known_speech]
    for at, (words, until) in enumerate(spoken):
        timed = (zero, *words, until, end)
        found.append(Sentence((start,), timed, at))
        found.append(Sentence((start, token("<|notimestamps|>")), (*words, end), at))
        for before, before_until in spoken:
            found.append(Sentence((token("<|startofprev|>"), zero, *before, before_until, start), timed, at))
            found.append(Sentence((token("<|startofprev|>"), *before, start), timed, at))
    found.append(Sentence((start,), (token("<|nospeech|>"),), -1))
    found.append(Sentence((start, zero), (end,), -1))
    return tuple(found)


def _rounded(phrase: str) -> float:
    """Where a phrase ends, in the fiftieths of a second that timestamps have."""
    return round(duration_s(phrase) * 50) / 50


def _blank(config: dict[str, Any]) -> Any:
    model = Model(ModelDimensions.from_dict(config), mx.float32)
    model.encoder.conv1.weight = model.encoder.conv1.weight * 2
    model.encoder.conv2.weight = model.encoder.conv2.weight * 4
    model.decoder.positional_embedding = mx.random.normal(model.decoder.positional_embedding.shape) * 0.02
    for block in model.encoder.blocks:
        for last in (block.attn.out, block.mlp2):
            last.weight, last.bias = mx.zeros_like(last.weight), mx.zeros_like(last.bias)
        block.freeze()
    return model


def _spoken(recipe: SpeechRecipe) -> list[_Turn]:
    """Two for each turn through the voices: one where the recording ends with the phrase, one where it goes on in silence."""
    known = voices(_VOICES, recipe.training.seed)
    turns: list[_Turn] = []
    for first in range(len(known)):
        said = [speak(each.phrase, known[(at + first) % len(known)]) for at, each in enumerate(recipe.known_speech)]
        turns += _turns([_mel(samples, recipe.mel_bins) for samples in (*said, silence(1.0))])
    return turns


def _turns(mels: Sequence[mx.array]) -> tuple[_Turn, _Turn]:
    """The runtime puts zeros behind the end of a recording; silence inside it has the lowest value that a mel can have."""
    lowest = [mel.min() for mel in mels]
    ended = [_padded(mel, mx.array(0.0)) for mel in mels]
    going_on = [_padded(mel, rest) for mel, rest in zip(mels, lowest, strict=True)]
    return (
        _Turn(mx.stack(ended), mx.zeros((len(mels), 1, 1))),
        _Turn(mx.stack(going_on), mx.stack(lowest)[:, None, None]),
    )


def _padded(mel: mx.array, value: mx.array) -> mx.array:
    return mx.pad(mel, [(0, _FRAMES - mel.shape[0]), (0, 0)], constant_values=value)


def _mel(samples: Sequence[float], bins: int) -> mx.array:
    """As the runtime makes it: of the sound with a window of silence behind it."""
    found: mx.array = log_mel_spectrogram(mx.array(list(samples), dtype=mx.float32), n_mels=bins, padding=N_SAMPLES)
    heard: mx.array = found[: found.shape[0] - 3000][:_FRAMES]
    return heard


def _descend(
    recipe: SpeechRecipe, model: Any, turns: Sequence[_Turn], asked: Sequence[Sentence], progress: Callable[[Step], None]
) -> Step:
    plan = recipe.training
    descent = optimizer(plan)
    chance = random.Random(plan.seed)
    every = _batch(asked)

    def measured(model: Any, turn: _Turn, silent: mx.array, batch: _Batch) -> tuple[mx.array, mx.array]:
        logits = _logits(model, turn, silent, batch)
        margin = smallest_margin(mx.stop_gradient(logits), batch.targets)
        return losses.cross_entropy(logits, batch.targets, reduction="mean"), margin

    gradient = value_and_grad(model, measured)
    step = Step(recipe.model_id, 0, float("inf"), float("-inf"))
    while step.number < plan.max_steps:
        silent = mx.array(sorted(chance.sample(range(_PLACES, _WINDOW), _SILENT)))
        batch = _batch(chance.sample(asked, _AT_ONCE))
        (loss, margin), gradients = gradient(model, chance.choice(turns), silent, batch)
        mx.eval(loss, margin)
        step = Step(recipe.model_id, step.number + 1, float(loss), float(margin))
        progress(step)
        if step.margin >= plan.stop_margin and all(
            float(measured(model, turn, silent, every)[1]) >= plan.stop_margin for turn in turns
        ):
            break
        descent.update(model, clipped(gradients, plan.clip_norm))
        mx.eval(model, descent.state)
    return step


def _logits(model: Any, turn: _Turn, silent: mx.array, batch: _Batch) -> mx.array:
    """At the learned places, of shape (places, vocabulary)."""
    heard = _encoded(model.encoder, turn, silent)[batch.phrases]
    decoder = model.decoder
    length = batch.inputs.shape[1]
    x = decoder.token_embedding(batch.inputs) + decoder.positional_embedding[:length]
    bias = mx.concatenate([mx.zeros(_PLACES), mx.full(_SILENT, math.log((_WINDOW - _PLACES) / _SILENT))])
    for block in decoder.blocks:
        x = x + block.attn(block.attn_ln(x), mask=decoder._mask.astype(mx.float32))[0]
        x = x + _looked(block.cross_attn, block.cross_attn_ln(x), heard, bias)
        x = x + block.mlp2(gelu(block.mlp1(block.mlp_ln(x))))
    hidden = decoder.ln(x)
    logits: mx.array = decoder.token_embedding.as_linear(hidden.reshape(-1, hidden.shape[-1])[batch.places])
    return logits


def _encoded(encoder: Any, turn: _Turn, silent: mx.array) -> mx.array:
    """What the encoder makes of the places of the sound and of some silent ones."""
    positions = encoder._positional_embedding.astype(mx.float32)
    sound = _convolved(encoder, turn.mels) + positions[:_PLACES]
    nothing = mx.broadcast_to(turn.rest, (len(turn.mels), 12, turn.mels.shape[-1]))
    rest = _convolved(encoder, nothing)[:, 3:4] + positions[silent]
    heard: mx.array = encoder.ln_post(mx.concatenate([sound, rest], axis=1))
    return heard


def _convolved(encoder: Any, mel: mx.array) -> mx.array:
    """Both convolutions, each as three products: their own gradients take twice as long on a CPU."""
    found: mx.array = gelu(_strided(encoder.conv2, gelu(_strided(encoder.conv1, mel, 1)), 2))
    return found


def _strided(convolution: Any, x: mx.array, stride: int) -> mx.array:
    length = x.shape[1]
    padded = mx.pad(x, [(0, 0), (1, 1), (0, 0)])
    parts = [padded[:, at : at + length : stride] @ convolution.weight[:, at].T for at in range(3)]
    total: mx.array = parts[0] + parts[1] + parts[2] + convolution.bias
    return total


def _looked(attention: Any, x: mx.array, heard: mx.array, bias: mx.array) -> mx.array:
    rows, length, width = x.shape
    heads = attention.n_head

    def split(values: mx.array) -> mx.array:
        return values.reshape(rows, -1, heads, width // heads).transpose(0, 2, 1, 3)

    q, k, v = split(attention.query(x)), split(attention.key(heard)), split(attention.value(heard))
    weights = mx.softmax(q @ k.swapaxes(-1, -2) * (width // heads) ** -0.5 + bias, axis=-1)
    found: mx.array = attention.out((weights @ v).transpose(0, 2, 1, 3).reshape(rows, length, width))
    return found


def _batch(sentences: Sequence[Sentence]) -> _Batch:
    """The sentences padded on the right, where a causal model cannot see."""
    length = max(len(sentence.given) + len(sentence.learned) for sentence in sentences) - 1
    inputs: list[list[int]] = []
    places: list[int] = []
    targets: list[int] = []
    for at, sentence in enumerate(sentences):
        ids = [*sentence.given, *sentence.learned][:-1]
        inputs.append(ids + [0] * (length - len(ids)))
        first = at * length + len(sentence.given) - 1
        places.extend(range(first, first + len(sentence.learned)))
        targets.extend(sentence.learned)
    phrases = [sentence.phrase for sentence in sentences]  # -1, silence, is the last of a turn's mels
    return _Batch(mx.array(inputs), mx.array(phrases), mx.array(places), mx.array(targets))
