"""Models that turn speech into text, on mlx-audio."""

from __future__ import annotations

import contextlib
import io
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from mlxk.engines import (
    Batch,
    Decoding,
    Event,
    Finished,
    Generation,
    Heard,
    Segment,
    Started,
    Text,
    Timings,
    Usage,
    Word,
    libraries,
)
from mlxk.engines.faults import FAULTS, CancelledError
from mlxk.engines.turns import OneByOne
from mlxk.errors import GenerationFailed, LoadFailed, MediaRefused
from mlxk.library import Model
from mlxk.sounds import MAX_SECONDS, NEED_FFMPEG, Sound, through_ffmpeg

libraries.prepare()

import miniaudio  # noqa: E402 - the libraries read the variables set above
import mlx.core as mx  # noqa: E402
import numpy as np  # noqa: E402
from mlx_audio.audio_io import read  # noqa: E402
from mlx_audio.stt import load  # noqa: E402

from mlxk.engines.release import release  # noqa: E402

_RATE = 16_000  # of every model that mlx-audio has for speech
_MOST_PARTS = 3000
_LOWEST_RATE = 4000  # below it nobody records speech; one sample at 8 Hz would become 2000
_RATES = {"wav": miniaudio.wav_get_info, "flac": miniaudio.flac_get_info}  # those of MP3 are few and even


class AudioEngine:
    """One speech model of mlx-audio."""

    def __init__(self, model: Any, load_time_s: float) -> None:
        self._model = model
        self.load_time_s = load_time_s

    @classmethod
    def load(cls, model: Model) -> AudioEngine:
        began = time.perf_counter()
        try:
            loaded = load(str(model.snapshot.path))
        except (*FAULTS, ImportError) as error:
            raise LoadFailed(f"{model.name} cannot be loaded: {error}") from error
        return cls(loaded, time.perf_counter() - began)

    def close(self) -> None:
        self._model = None
        release()

    def batch(self, prompt_cache_bytes: int) -> Batch:
        return OneByOne(self.stream)

    def stream(self, request: Generation, cancelled: Callable[[], bool]) -> Iterator[Event]:
        """The transcript is one piece: what mlx-audio streams is another text than what it writes of the whole."""
        recording = request.recording
        if recording is None:
            raise GenerationFailed("It is a speech model, and there is no recording to be heard.")
        options: dict[str, Any] = {"temperature": request.sampling.temperature}
        options |= {"language": recording.language} if recording.language else {}
        options |= {"initial_prompt": request.prompt} if request.prompt else {}
        options |= {"word_timestamps": True} if recording.words else {}
        samples = decode(recording.sound)
        yield Started()
        mx.reset_peak_memory()
        began = time.perf_counter()
        try:
            with _interruptible(self._model, cancelled):
                heard = self._model.generate(mx.array(samples), **options)
        except CancelledError:
            return
        except FAULTS as error:
            raise GenerationFailed(f"The model failed while listening: {' '.join(str(error).split())}") from error
        if not cancelled():
            yield from self._told(heard, len(samples) / _RATE, time.perf_counter() - began)

    def _told(self, heard: Any, duration_s: float, time_s: float) -> Iterator[Event]:
        parts: Iterable[Mapping[str, Any]] = getattr(heard, "segments", None) or ()
        tokens = sum(len(part.get("tokens", ())) for part in parts)
        if text := str(heard.text).strip():
            yield Text(text)
        segments = tuple(_segment(part) for part in parts if str(part["text"]).strip())
        timings = Timings(
            load_time_s=self.load_time_s,
            time_to_first_token_s=time_s,
            prompt_tps=0.0,
            generation_tps=tokens / time_s if tokens else None,
            peak_memory_gb=mx.get_peak_memory() / 1e9,
        )
        told = Heard(duration_s, getattr(heard, "language", None), segments)
        yield Finished("stop", Usage(0, tokens), timings, heard=told)


def decode(sound: Sound) -> Any:
    """The samples of a recording, one channel at 16 kHz, as a numpy array of 32-bit floats. Raises MediaRefused.

    They are numbers from -1 to 1 whatever is in the file: miniaudio cuts off what is larger, infinite or not a number.
    """
    try:
        samples = _through_ffmpeg(sound) if sound.format in NEED_FFMPEG else _read(sound)
    except MediaRefused:
        raise
    except Exception as error:  # miniaudio's errors have no common class
        raise MediaRefused(
            f"The recording {sound.name} is damaged, or not the {sound.format} that it begins as: {error}", sound.name
        ) from error
    if not len(samples):
        raise MediaRefused(f"The recording {sound.name} has no samples: it lasts 0 seconds.", sound.name)
    if len(samples) > MAX_SECONDS * _RATE:
        raise MediaRefused(
            f"The recording {sound.name} is longer than {MAX_SECONDS // 3600} hours. Cut it into parts.",
            sound.name,
            too_large=True,
        )
    return samples


def _read(sound: Sound) -> Any:
    if sound.format in _RATES and not _is_quickly_resampled(rate := _RATES[sound.format](sound.data).sample_rate):
        raise MediaRefused(
            f"The recording {sound.name} has {rate} samples a second, too few or too odd to be read. Make it 16000 or 44100.",
            sound.name,
        )
    samples, _ = read(io.BytesIO(sound.data), dtype="float32", sample_rate=_RATE, nchannels=1, duration=MAX_SECONDS + 1)
    return samples


def _is_quickly_resampled(rate: int) -> bool:
    """The filter for it grows with the larger part of the ratio: 441 for 44,100, and for a prime number gigabytes.

    Below the lowest rate, a file of kilobytes would become minutes of samples.
    """
    return rate >= _LOWEST_RATE and max(rate, _RATE) // math.gcd(rate, _RATE) <= _MOST_PARTS


def _through_ffmpeg(sound: Sound) -> Any:
    return np.frombuffer(through_ffmpeg(sound, _RATE), dtype=np.int16).astype(np.float32) / 32768


def _segment(part: Mapping[str, Any]) -> Segment:
    words = tuple(Word(float(each["start"]), float(each["end"]), str(each["word"]).strip()) for each in part.get("words") or ())
    decoding = None
    if "avg_logprob" in part:
        decoding = Decoding(
            seek=int(part["seek"]),
            tokens=tuple(int(token) for token in part["tokens"]),
            temperature=float(part["temperature"]),
            avg_logprob=float(part["avg_logprob"]),
            compression_ratio=float(part["compression_ratio"]),
            no_speech_prob=float(part["no_speech_prob"]),
        )
    return Segment(float(part["start"]), float(part["end"]), str(part["text"]).strip(), words, decoding)


@contextlib.contextmanager
def _interruptible(model: Any, cancelled: Callable[[], bool]) -> Iterator[None]:
    """Whisper decodes a recording window by window, of 30 s: before each of them it can be ended. Other models cannot."""
    if not hasattr(model, "decode"):
        yield
        return
    decode_window = model.decode

    def decode_or_end(*arguments: Any, **options: Any) -> Any:
        if cancelled():
            raise CancelledError
        return decode_window(*arguments, **options)

    model.decode = decode_or_end
    try:
        yield
    finally:
        del model.decode
