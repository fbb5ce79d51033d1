"""Transcription as OpenAI's API has it: from a form to plain data, and from a transcript to the body of an answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from mlxk import languages, sounds
from mlxk.engines import Completion, Generation, Heard, Recording, Sampling, Segment
from mlxk.errors import RequestError, UsageError
from mlxk.server.forms import Form

_FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
_STREAMED_FORMATS = ("json", "text")
_TRUE, _FALSE = ("true", "True", "1"), ("false", "False", "0")
_GRANULARITIES = ("segment", "word")

# As in requests: what would change the answer if it were honoured, with the values that ask for nothing.
_NOT_SUPPORTED: Mapping[str, tuple[str, ...]] = {
    "include": (),
    "chunking_strategy": ("auto",),
    "languages": (),
    "keywords": (),
    "known_speaker_names": (),
    "known_speaker_references": (),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be transcribed, and how it shall be told; ``granularities`` are those of verbose_json."""

    model: str
    generation: Generation
    response_format: str
    granularities: frozenset[str]
    stream: bool = False


def parse(form: Form) -> Asked:
    """Raises RequestError, MediaRefused. A field that is empty counts as absent."""
    for name, harmless in _NOT_SUPPORTED.items():
        given = [value for key in (name, f"{name}[]") for value in form.fields.get(key, ()) if value]
        if (given and not set(given) <= set(harmless)) or name in form.files:
            _refuse(name, f"{name} is not supported by this server; leave it out.")
    response_format = form.one("response_format") or "json"
    if response_format not in _FORMATS:
        _refuse("response_format", f"response_format must be one of {', '.join(_FORMATS)}.")
    granularities = _granularities(form, response_format)
    if (model := form.one("model")) is None:
        _refuse("model", "model must be a text, and not empty.")
    recording = Recording(_file(form), _language(form.one("language")), words="word" in granularities)
    sampling = Sampling(_temperature(form.one("temperature")))
    generation = Generation(form.one("prompt") or "", sampling=sampling, recording=recording)
    return Asked(model, generation, response_format, granularities, _stream(form.one("stream"), response_format))


def answer(completion: Completion, asked: Asked) -> tuple[bytes, str]:
    """The body, and its type."""
    heard = completion.heard
    assert heard is not None
    if asked.response_format == "text":
        return completion.text.encode(), "text/plain; charset=utf-8"
    if asked.response_format == "srt":
        return _srt(heard.segments).encode(), "text/plain; charset=utf-8"
    if asked.response_format == "vtt":
        return _vtt(heard.segments).encode(), "text/vtt; charset=utf-8"
    told: dict[str, Any] = {"text": completion.text, "usage": {"type": "duration", "seconds": heard.duration_s}}
    if asked.response_format == "verbose_json":
        told |= _verbose(heard, asked)
    return json.dumps(told, ensure_ascii=False).encode(), "application/json"


def _verbose(heard: Heard, asked: Asked) -> dict[str, Any]:
    told: dict[str, Any] = {"task": "transcribe", "language": heard.language or "", "duration": heard.duration_s}
    if "segment" in asked.granularities:
        told["segments"] = [_segment(number, segment) for number, segment in enumerate(heard.segments)]
    if "word" in asked.granularities:
        words = (word for segment in heard.segments for word in segment.words)
        told["words"] = [{"word": word.text, "start": word.start_s, "end": word.end_s} for word in words]
    return told


def _segment(number: int, segment: Segment) -> dict[str, Any]:
    told: dict[str, Any] = {"id": number, "start": segment.start_s, "end": segment.end_s, "text": segment.text}
    if (decoding := segment.decoding) is not None:
        told |= {
            "seek": decoding.seek,
            "tokens": list(decoding.tokens),
            "temperature": decoding.temperature,
            "avg_logprob": decoding.avg_logprob,
            "compression_ratio": decoding.compression_ratio,
            "no_speech_prob": decoding.no_speech_prob,
        }
    return told


def _srt(segments: Sequence[Segment]) -> str:
    """SubRip: https://www.matroska.org/technical/subtitles.html#srt-subtitles"""
    return "".join(f"{number}\n{_span(each, ',')}\n{_line(each)}\n\n" for number, each in enumerate(segments, start=1))


def _vtt(segments: Sequence[Segment]) -> str:
    """WebVTT: https://www.w3.org/TR/webvtt1/"""
    cues = (f"{_span(each, '.')}\n{_line(each).replace('&', '&amp;').replace('<', '&lt;')}\n\n" for each in segments)
    return "WEBVTT\n\n" + "".join(cues)


def _span(segment: Segment, mark: str) -> str:
    return f"{_moment(segment.start_s, mark)} --> {_moment(segment.end_s, mark)}"


def _moment(seconds: float, mark: str) -> str:
    total_ms = round(1000 * seconds)
    minutes, ms = divmod(total_ms, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{ms // 1000:02}{mark}{ms % 1000:03}"


def _line(segment: Segment) -> str:
    """On one line, and without the arrow, which begins another cue."""
    return " ".join(segment.text.split()).replace("-->", "→")


def _file(form: Form) -> sounds.Sound:
    found = form.files.get("file", ())
    if len(found) != 1:
        wrong = "there is none" if not found else f"there are {len(found)}"
        _refuse("file", f"One file is transcribed, and {wrong}: it is the part named file, with a filename.")
    return sounds.parse("file", found[0])


def _stream(given: str | None, response_format: str) -> bool:
    if given is None or given in _FALSE:
        return False
    if given not in _TRUE:
        _refuse("stream", "stream must be true or false.")
    if response_format not in _STREAMED_FORMATS:
        _refuse("stream", f"stream goes with response_format {' or '.join(_STREAMED_FORMATS)}.")
    return True


def _language(given: str | None) -> str | None:
    try:
        return languages.code(given) if given is not None else None
    except UsageError as error:
        raise RequestError(error.message, param="language") from error


def _temperature(given: str | None) -> float:
    try:
        temperature = float(given or 0)
    except ValueError:
        temperature = -1.0
    if not 0 <= temperature <= 1:
        _refuse("temperature", "temperature must be a number from 0 to 1.")
    return temperature


def _granularities(form: Form, response_format: str) -> frozenset[str]:
    name = "timestamp_granularities"
    given = [value for key in (name, f"{name}[]") for value in form.fields.get(key, ()) if value]
    if unknown := [value for value in given if value not in _GRANULARITIES]:
        _refuse(f"{name}[]", f"{name}[] must be segment or word, not {unknown[0][:20]!r}.")
    if given and response_format != "verbose_json":
        _refuse(f"{name}[]", f"{name}[] goes with response_format verbose_json.")
    return frozenset(given or ["segment"])


def _refuse(param: str, message: str) -> NoReturn:
    raise RequestError(message, param=param)
