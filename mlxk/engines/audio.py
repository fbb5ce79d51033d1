"""Models that turn speech into text, on mlx-audio."""

from __future__ import annotations

import gc
import io
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mlxk.engines import libraries
from mlxk.errors import GenerationFailed, LoadFailed, MediaRefused, UsageError
from mlxk.library import Model
from mlxk.sounds import MAX_SECONDS, Sound

libraries.prepare()

import mlx.core as mx  # noqa: E402 - the libraries read the variables set above
from mlx_audio.audio_io import read  # noqa: E402
from mlx_audio.stt import load  # noqa: E402
from mlx_audio.stt.models.whisper.tokenizer import LANGUAGES, TO_LANGUAGE_CODE  # noqa: E402

_RATE = 16_000  # of every model that mlx-audio has for speech
_FAULTS = (RuntimeError, ValueError, LookupError, TypeError, AttributeError, OSError, ArithmeticError, NotImplementedError)


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a recording, in seconds from its beginning, and what is said in it."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """``duration_s`` is that of the recording; ``language`` is None where the model does not tell it."""

    text: str
    segments: tuple[Segment, ...]
    language: str | None
    duration_s: float
    tokens: int
    time_s: float
    peak_memory_gb: float


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
        except (*_FAULTS, ImportError) as error:
            raise LoadFailed(f"{model.name} cannot be loaded: {error}") from error
        return cls(loaded, time.perf_counter() - began)

    def close(self) -> None:
        self._model = None
        gc.collect()
        mx.clear_cache()

    def transcribe(self, sound: Sound, language: str | None = None, prompt: str = "", temperature: float = 0.0) -> Transcript:
        """What is said in a recording. Raises MediaRefused, UsageError for a language that is none, GenerationFailed."""
        options: dict[str, Any] = {"temperature": temperature}
        if language is not None:
            options["language"] = language_code(language)
        if prompt:
            options["initial_prompt"] = prompt
        samples = decode(sound)
        mx.reset_peak_memory()
        began = time.perf_counter()
        try:
            heard = self._model.generate(mx.array(samples), **options)
        except _FAULTS as error:
            raise GenerationFailed(f"The model failed while listening: {' '.join(str(error).split())}") from error
        parts: Iterable[Mapping[str, Any]] = getattr(heard, "segments", None) or ()
        return Transcript(
            text=str(heard.text).strip(),
            segments=tuple(Segment(float(each["start"]), float(each["end"]), str(each["text"]).strip()) for each in parts),
            language=getattr(heard, "language", None),
            duration_s=len(samples) / _RATE,
            tokens=sum(len(each.get("tokens", ())) for each in parts),
            time_s=time.perf_counter() - began,
            peak_memory_gb=mx.get_peak_memory() / 1e9,
        )


def decode(sound: Sound) -> Any:
    """The samples of a recording, one channel at 16 kHz, as a numpy array of 32-bit floats. Raises MediaRefused.

    They are numbers from -1 to 1 whatever is in the file: miniaudio cuts off what is larger, infinite or not a number.
    """
    try:
        samples, _ = read(io.BytesIO(sound.data), dtype="float32", sample_rate=_RATE, nchannels=1, duration=MAX_SECONDS + 1)
    except Exception as error:  # miniaudio's errors have no common class, and ffmpeg's are RuntimeErrors
        raise MediaRefused(
            f"The recording {sound.name} is damaged, or not the {sound.format} that it begins as: {error}"
        ) from error
    if not len(samples):
        raise MediaRefused(f"The recording {sound.name} has no samples: it lasts 0 seconds.")
    if len(samples) > MAX_SECONDS * _RATE:
        raise MediaRefused(
            f"The recording {sound.name} is longer than {MAX_SECONDS // 3600} hours. Cut it into parts.", status=413
        )
    return samples


def language_code(language: str) -> str:
    """Two or three letters for a language, which may be given by its English name."""
    wanted = language.lower()
    if wanted not in LANGUAGES and wanted not in TO_LANGUAGE_CODE:
        raise UsageError(f"There is no language {language!r}; give its code, as en, de or ja.")
    return str(TO_LANGUAGE_CODE.get(wanted, wanted))
