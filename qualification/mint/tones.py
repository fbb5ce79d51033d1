"""The speech of minted models: every letter is a chord, as on a telephone's keys; nothing but the standard library makes it."""

from __future__ import annotations

import array
import io
import math
import random
import sys
import wave
from dataclasses import dataclass

RATE = 16_000
"""Samples a second, as Whisper takes them."""

_LETTER_S = 0.07
_PAUSE_S = 0.05
_FADE_S = 0.008


@dataclass(frozen=True, slots=True)
class Voice:
    """How something is said: pitch and speed as factors, loudness up to 1, silence before it, and noise beside it."""

    pitch: float = 1.0
    speed: float = 1.0
    loudness: float = 0.6
    lead_s: float = 0.0
    noise: float = 0.0


CANONICAL = Voice()


def speak(text: str, voice: Voice = CANONICAL) -> array.array[float]:
    """The text as samples from -1 to 1 at ``RATE``."""
    samples = array.array("d", bytes(8 * round(voice.lead_s * RATE)))
    for letter in text.lower():
        if letter.isalpha():
            samples.extend(_chord(letter, voice))
        else:
            samples.extend(array.array("d", bytes(8 * round(_PAUSE_S / voice.speed * RATE))))
    chance = random.Random(text)
    return samples if not voice.noise else array.array("d", (value + chance.gauss(0, voice.noise) for value in samples))


def silence(seconds: float) -> array.array[float]:
    return array.array("d", bytes(8 * round(seconds * RATE)))


def duration_s(text: str) -> float:
    """How long the text sounds in the canonical voice."""
    return len(speak(text)) / RATE


def wav(samples: array.array[float], rate: int = RATE) -> bytes:
    """The samples as a mono WAV file of 16 bits."""
    values = array.array("h", (max(-32768, min(32767, round(32767 * value))) for value in samples))
    if sys.byteorder == "big":
        values.byteswap()
    held = io.BytesIO()
    with wave.open(held, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(values.tobytes())
    return held.getvalue()


def voices(count: int, seed: int) -> tuple[Voice, ...]:
    """Voices to learn from, the canonical one first."""
    chance = random.Random(seed)
    return (CANONICAL, *(_varied(chance) for _ in range(count - 1)))


def _varied(chance: random.Random) -> Voice:
    return Voice(
        pitch=chance.uniform(0.98, 1.02),
        speed=chance.uniform(0.96, 1.04),
        loudness=chance.uniform(0.3, 0.9),
        lead_s=chance.choice((0.0, 0.05, 0.1)),
        noise=chance.choice((0.0, 0.003)),
    )


def _chord(letter: str, voice: Voice) -> array.array[float]:
    place = (ord(letter) - ord("a")) % 26
    low = 320.0 * 1.12 ** (place % 9) * voice.pitch
    high = 1300.0 * 1.25 ** (place // 9 + 3 * (place % 2)) * voice.pitch
    count, fade = round(_LETTER_S / voice.speed * RATE), _FADE_S * RATE
    turn = 2 * math.pi / RATE
    return array.array(
        "d",
        (
            voice.loudness
            * min(1.0, at / fade, (count - at) / fade)
            * (math.sin(turn * low * at) + math.sin(turn * high * at))
            / 2
            for at in range(count)
        ),
    )
